import { setTimeout as sleep } from 'node:timers/promises';
import { DisturbanceMeter } from './disturbance.js';
import { type Interval, intervalOf, medianOf, type Spread, spreadOf } from './spread.js';

/** Something to call again and again. */
export interface Contestant {
  readonly name: string;
  /** One call, from arguments at hand to the result in JavaScript. */
  call(): Promise<unknown>;
  /** So many rounds are enough, because a call takes seconds. */
  readonly rounds?: number;
}

/** A limit that is measured between the contestants. */
export interface Probe {
  readonly name: string;
  measure(): number;
}

export interface Pace {
  /** Times that every contestant gets its turn. */
  readonly rounds: number;
  /** Seconds of one turn, after a call to warm up; at least one call is timed. */
  readonly turnSeconds: number;
  /**
   * Seconds that a case may spend on waiting for a quiet machine and on turns that were disturbed.
   */
  readonly patienceSeconds: number;
}

/** What the turns of one contestant or probe came to. */
interface Collected {
  readonly values: number[];
  /** Median of each turn. */
  readonly turns: number[];
  /** Of each turn, where the system says. */
  readonly disturbances: number[];
}

export interface Alternated {
  /** Seconds per call. */
  readonly times: Map<string, Spread>;
  /**
   * How many times longer one took than another, from the pairs of turns that they had in the same
   * rounds: what disturbs the machine for longer than a round meets both.
   */
  ratio(of: string, to: string): Interval;
  /** Per second, over the rounds. */
  readonly probes: Map<string, Spread>;
  /** Median share of the machine that others took during a contestant's turns. */
  readonly disturbances: Map<string, number | undefined>;
}

/** A turn in which other processes took more than this of the machine does not count. */
const tolerableDisturbance = 0.05;
/** Calls that take longer find nothing of their last turn in a cache, warmed up or not. */
const warmUpSeconds = 0.25;
const quietProbeMs = 200;
const idleProbeMs = 10;
const idleProbes = 50;

/** Gives every contestant its turn, round after round, each round beginning with another one. */
export async function alternate(
  contestants: readonly Contestant[],
  probes: readonly Probe[],
  pace: Pace,
): Promise<Alternated> {
  const patience = new Patience(pace.patienceSeconds);
  const collected = new Map<string, Collected>();
  const collect = async (name: string, turn: () => Promise<number[]>) => {
    const into = collected.get(name) ?? { values: [], turns: [], disturbances: [] };
    collected.set(name, into);
    const { values, disturbance } = await undisturbed(turn, patience);
    into.turns.push(medianOf(values));
    for (const value of values) into.values.push(value);
    if (disturbance !== undefined) into.disturbances.push(disturbance);
  };
  for (let round = 0; round < pace.rounds; round++) {
    for (let i = 0; i < contestants.length; i++) {
      const contestant = contestants[(i + round) % contestants.length];
      const { name, rounds = pace.rounds } = contestant;
      if (round >= rounds) continue;
      const last = collected.get(name)?.values.at(-1) ?? 0;
      await collect(name, () => takeTurn(contestant, pace.turnSeconds, last < warmUpSeconds));
    }
    for (const { name, measure } of probes) await collect(name, async () => [measure()]);
  }
  const of = (name: string) => collected.get(name) as Collected;
  return {
    times: new Map(contestants.map(({ name }) => [name, spreadOf(of(name).values)])),
    ratio(one, other) {
      const pairs = Math.min(of(one).turns.length, of(other).turns.length);
      return intervalOf(
        of(one)
          .turns.slice(0, pairs)
          .map((t, i) => t / of(other).turns[i]),
      );
    },
    probes: new Map(probes.map(({ name }) => [name, spreadOf(of(name).values)])),
    disturbances: new Map(
      contestants.map(({ name }) => {
        const shares = of(name).disturbances;
        return [name, shares.length > 0 ? medianOf(shares) : undefined];
      }),
    ),
  };
}

async function takeTurn(
  contestant: Contestant,
  seconds: number,
  warmUp: boolean,
): Promise<number[]> {
  if (warmUp) await contestant.call();
  const times: number[] = [];
  const end = performance.now() + seconds * 1000;
  do {
    const begin = performance.now();
    await contestant.call();
    times.push((performance.now() - begin) / 1000);
  } while (performance.now() < end);
  return times;
}

/** What is left of the time that a case may lose to other processes. */
class Patience {
  #left: number;

  constructor(seconds: number) {
    this.#left = seconds * 1000;
  }

  get isOver(): boolean {
    return this.#left <= 0;
  }

  spend(ms: number): void {
    this.#left -= ms;
  }
}

/** Repeats a turn until no other process disturbed it, or patience is over. */
async function undisturbed(
  turn: () => Promise<number[]>,
  patience: Patience,
): Promise<{ values: number[]; disturbance: number | undefined }> {
  for (;;) {
    await untilIdle();
    await untilQuiet(patience);
    const meter = new DisturbanceMeter();
    const begin = performance.now();
    const values = await turn();
    const disturbance = meter.lap();
    if ((disturbance ?? 0) <= tolerableDisturbance || patience.isOver) {
      return { values, disturbance };
    }
    patience.spend(performance.now() - begin);
  }
}

/** Waits until other processes leave the machine alone. */
async function untilQuiet(patience: Patience): Promise<void> {
  const meter = new DisturbanceMeter();
  while (!patience.isOver) {
    const begin = performance.now();
    await sleep(quietProbeMs);
    if ((meter.lap() ?? 0) <= tolerableDisturbance) return;
    patience.spend(performance.now() - begin);
  }
}

/**
 * Waits until no thread of this process is busy: those of onnxruntime go on spinning for tens of
 * milliseconds after a call, and must not spin into the next contestant's turn.
 */
async function untilIdle(): Promise<void> {
  for (let i = 0; i < idleProbes; i++) {
    const begin = performance.now();
    const before = process.cpuUsage();
    await sleep(idleProbeMs);
    const { user, system } = process.cpuUsage(before);
    if ((user + system) / 1000 < 0.1 * (performance.now() - begin)) return;
  }
}
