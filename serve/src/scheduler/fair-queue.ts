import { type Answer, byImportance } from './answer.js';

interface User {
  /** Tokens that the model computed for it, or what others had when it came. */
  served: number;
  /** Answers under way, waiting ones among them. */
  active: number;
  readonly waiting: Answer[];
}

/**
 * Answers that wait. The greatest priority goes first; within it the user who was served least
 * (virtual token counters, Sheng et al. 2024, "Fairness in Serving Large Language Models", arXiv
 * 2401.00588); within a user who came first. Nobody gains by having been away: who comes back
 * starts no lower than the least served of those who are active.
 */
export class FairQueue {
  readonly #users = new Map<string, User>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** An answer of the user is under way, until {@link leave}. */
  enter(name: string): void {
    const active = this.#leastServed();
    const least = active === Infinity ? 0 : active;
    const user = this.#users.get(name);
    if (user === undefined) {
      this.#users.set(name, { served: least, active: 1, waiting: [] });
      return;
    }
    if (user.active++ === 0) user.served = Math.max(user.served, least);
  }

  leave(name: string): void {
    this.#user(name).active--;
    const least = this.#leastServed();
    for (const [other, { active, served }] of this.#users) {
      // Coming back, it would start where one that never came starts.
      if (active === 0 && served <= least) this.#users.delete(other);
    }
  }

  /** The model computed tokens for the user. */
  charge(name: string, tokens: number): void {
    this.#user(name).served += tokens;
  }

  push(answer: Answer): void {
    const { waiting } = this.#user(answer.request.user);
    const at = waiting.findIndex((other) => byImportance(answer, other) < 0);
    waiting.splice(at < 0 ? waiting.length : at, 0, answer);
    this.#size++;
  }

  /** Idempotent. */
  remove(answer: Answer): void {
    const { waiting } = this.#user(answer.request.user);
    const at = waiting.indexOf(answer);
    if (at < 0) return;
    waiting.splice(at, 1);
    this.#size--;
  }

  /** Who is next. */
  peek(): Answer | undefined {
    let next: { answer: Answer; served: number } | undefined;
    for (const { waiting, served } of this.#users.values()) {
      if (waiting.length === 0) continue;
      const candidate = { answer: waiting[0], served };
      if (next === undefined || goesBefore(candidate, next)) next = candidate;
    }
    return next?.answer;
  }

  #user(name: string): User {
    const user = this.#users.get(name);
    if (user === undefined) throw new Error(`No answer of user ${name} is under way.`);
    return user;
  }

  /** By those who are active; Infinity without any. */
  #leastServed(): number {
    let least = Infinity;
    for (const { active, served } of this.#users.values()) {
      if (active > 0) least = Math.min(least, served);
    }
    return least;
  }
}

type Candidate = { answer: Answer; served: number };

function goesBefore(a: Candidate, b: Candidate): boolean {
  const priorities = b.answer.request.priority - a.answer.request.priority;
  return (priorities || a.served - b.served || a.answer.arrival - b.answer.arrival) < 0;
}
