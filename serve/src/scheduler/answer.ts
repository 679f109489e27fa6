import type {
  Finish,
  ForwardSequence,
  GenerationRequest,
  ModelInfo,
  TokenEvent,
} from '../engine/contract.js';
import { isLongRope } from '../engine/prefix-hash.js';
import type { Sampler } from '../sampler/sampler.js';
import type { Constraint } from './constraint.js';
import { TokenList } from './token-list.js';

/** An answer that is waiting or running, whatever happens to its pages meanwhile. */
export class Answer {
  readonly id: number;
  readonly request: GenerationRequest;
  /** Numbers answers as they came: the lower goes first. */
  readonly arrival: number;
  /** Of prompt and answer. */
  readonly tokens: TokenList;
  /** Tokens that end it. */
  readonly ends: readonly number[];
  readonly longRope: boolean;
  /** Those that wait for this one's prompt, to continue from a fork of it. */
  followers: Answer[] = [];
  /** Its tokens in the cache, while it runs. The last of {@link tokens} is never among them. */
  sequence?: ForwardSequence;
  constraint?: Constraint;
  /** Of the prompt, found in a stored prefix when it first ran. Undefined: it did not run yet. */
  cachedTokens?: number;
  acceptedTokens = 0;
  /** No more is done for it. */
  ended = false;
  readonly #sampler: Sampler;
  readonly #most: number;

  constructor(
    id: number,
    request: GenerationRequest,
    arrival: number,
    info: ModelInfo,
    sampler: Sampler,
  ) {
    this.id = id;
    this.request = request;
    this.arrival = arrival;
    this.tokens = new TokenList(request.prompt);
    this.ends = [...(request.ignoreEos ? [] : info.eosTokenIds), ...request.stopTokenIds];
    this.#most = Math.min(request.prompt.length + request.maxTokens, info.contextLength);
    this.longRope = isLongRope(request, info);
    this.#sampler = sampler;
    for (const token of request.generated ?? []) {
      sampler.accept(token);
      this.tokens.push(token);
    }
  }

  get completionTokens(): number {
    return this.tokens.length - this.request.prompt.length;
  }

  /** Tokens that the cache lacks. */
  get missingTokens(): number {
    return this.tokens.length - (this.sequence?.length ?? 0);
  }

  /** Tokens that it may still get. */
  get remainingTokens(): number {
    return this.#most - this.tokens.length;
  }

  /** Draws the next token from its logits. It is part of the answer from now on. */
  extend(logits: Float32Array): TokenEvent {
    const forbidden = this.completionTokens < this.request.minTokens ? this.ends : [];
    const event = this.#sampler.next(logits, { forbidden, mask: this.constraint?.mask });
    this.tokens.push(event.token);
    this.constraint?.accept(event.token);
    return event;
  }

  /** How an answer that was begun elsewhere has ended there. */
  get endBefore(): Pick<Finish, 'reason' | 'stopToken'> | undefined {
    const last = this.request.generated?.at(-1);
    return last === undefined ? undefined : this.endBy(last);
  }

  /** How the answer ends with its latest token; undefined: it goes on. */
  endBy(token: number): Pick<Finish, 'reason' | 'stopToken'> | undefined {
    if (this.ends.includes(token)) return { reason: 'stop', stopToken: token };
    return this.remainingTokens === 0 ? { reason: 'length' } : undefined;
  }

  /** Gives the pages back. It can be computed again from its tokens. */
  leaveCache(): void {
    this.sequence?.dispose();
    this.sequence = undefined;
  }
}

/** Who goes first: the greater priority, then who came first. */
export function byImportance(a: Answer, b: Answer): number {
  return b.request.priority - a.request.priority || a.arrival - b.arrival;
}
