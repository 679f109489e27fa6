import { setTimeout as sleep } from 'node:timers/promises';
import { DisturbanceMeter } from './disturbance.js';
import { medianOf, type Spread, spreadOf } from './spread.js';

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
}

export interface Alternated {
  readonly times: Map<string, Spread>;
  /** Median over the rounds. */
  readonly probes: Map<string, number>;
  readonly disturbance: number | undefined;
}

/** A round in which other processes took more than this of the machine does not count. */
const tolerableDisturbance = 0.05;
/** So often a case may start a disturbed round over before it takes what it gets. */
const secondChances = 3;
/** Calls that take longer find nothing of their last turn in a cache, warmed up or not. */
const warmUpSeconds = 0.25;
const idleProbeMs = 10;
const idleProbes = 50;

/** Gives every contestant its turn, round after round, each round beginning with another one. */
export async function alternate(
  contestants: readonly Contestant[],
  probes: readonly Probe[],
  pace: Pace,
): Promise<Alternated> {
  const times = new Map(contestants.map(({ name }) => [name, [] as number[]]));
  const rates = new Map(probes.map(({ name }) => [name, [] as number[]]));
  const shares: number[] = [];
  const lastSeconds = new Map<string, number>();
  let chances = secondChances;
  for (let round = 0; round < pace.rounds; ) {
    const meter = new DisturbanceMeter();
    const measured = new Map<string, number[]>();
    for (let i = 0; i < contestants.length; i++) {
      const contestant = contestants[(i + round) % contestants.length];
      const { name, rounds = pace.rounds } = contestant;
      if (round >= rounds) continue;
      const warmUp = (lastSeconds.get(name) ?? 0) < warmUpSeconds;
      const seconds = await turn(contestant, pace.turnSeconds, warmUp);
      measured.set(name, seconds);
      lastSeconds.set(name, seconds[seconds.length - 1]);
    }
    await untilIdle();
    const limits = probes.map((probe) => probe.measure());
    const share = meter.lap();
    if (share !== undefined && share > tolerableDisturbance && chances-- > 0) continue;
    for (const [name, seconds] of measured) times.get(name)?.push(...seconds);
    probes.forEach(({ name }, i) => {
      rates.get(name)?.push(limits[i]);
    });
    if (share !== undefined) shares.push(share);
    round++;
  }
  return {
    times: new Map([...times].map(([name, seconds]) => [name, spreadOf(seconds)])),
    probes: new Map([...rates].map(([name, values]) => [name, medianOf(values)])),
    disturbance: shares.length > 0 ? medianOf(shares) : undefined,
  };
}

async function turn(contestant: Contestant, seconds: number, warmUp: boolean): Promise<number[]> {
  await untilIdle();
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
