import { type Result, readResult } from '../../bench/result-file.js';
import { type Spread, spreadOf } from '../../bench/spread.js';
import type { Case, ContestantName, Sample, Timeline } from './contestant.js';
import { titles } from './contestant.js';
import type { Figure } from './figures.js';

/** Seconds below which half and 99 of 100 measurements lie. */
export interface Latency {
  readonly p50: number;
  readonly p99: number;
}

/**
 * One contestant at one point of one group. `suite`, `group`, `x` and `who` are those of
 * bench/row.ts: the rows of a group are one table and one chart. Times are in seconds.
 */
export interface ServeRow {
  readonly suite: 'serve';
  /** Such as `closed loop, context 2048` or `open loop, context 256`. */
  readonly group: string;
  /** Users at once in a closed loop, requests a second in an open one. */
  readonly x: number;
  /** Our own begin with `flash-attention`. */
  readonly who: string;
  readonly contestant: ContestantName;
  readonly load: 'closed' | 'open';
  /** Tokens of each prompt. */
  readonly context: number;
  /** Tokens of each answer. */
  readonly newTokens: number;
  /** The prompts begin with the same, all but eight tokens, which was answered before. */
  readonly shared: boolean;
  /** In all rounds. */
  readonly requests: number;
  /** All tokens of answers by all the time, prompts included; one value a round. */
  readonly tokensPerSecond: Spread;
  /**
   * The same while every user's first answer is under way and past its first token: no prompt is
   * computed then. Closed loops only, and only where there is such a time in every round.
   */
  readonly decodeTokensPerSecond?: Spread;
  /** From when the request was due. */
  readonly firstToken: Latency;
  /** Between a token and the next of the same answer; absent where answers are one token long. */
  readonly perToken?: Latency;
  /** From when the request was due to the end of its answer. */
  readonly answer: Latency;
  /** Of the contestant's process, in bytes; weights included. */
  readonly peakMemory?: number;
  /** The most that the event loop of the contestant's process was held. */
  readonly eventLoop?: number;
  /**
   * Share of the tokens of an answer that come before the first which differs from our engine's
   * answer to the same prompt in the same case, the mean over the answers. Absent for answers that
   * come as text.
   */
  readonly agreement?: number;
}

/** What `npm run bench:serve -- --json` writes. */
export interface ServeResult extends Result<ServeRow> {
  /** Of --figures. */
  readonly figures?: readonly Figure[];
}

/** @throws when the file is of another benchmark. */
export function readServeResult(file: string): ServeResult {
  const result = readResult<ServeResult>(file);
  if (result.rows.some(({ suite }) => suite !== 'serve')) {
    throw new Error(`${file} is no result of npm run bench:serve`);
  }
  return result;
}

/** The samples of one case, one a round. */
export interface Measured {
  readonly given: Omit<Case, 'seed'>;
  readonly samples: readonly Sample[];
}

const groupOf = ({ load, context, shared }: Measured['given']): string =>
  `${load.kind} loop, context ${context}${shared ? ', shared' : ''}`;

/** @param own what our engine made of the same case, if it took part. */
export function rowOf({ given, samples }: Measured, own: Measured | undefined): ServeRow {
  const { contestant, load, context, newTokens, shared } = given;
  const all = samples.flatMap(({ timelines }) => timelines);
  const most = (values: readonly (number | undefined)[]) => {
    const known = values.filter((value) => value !== undefined);
    return known.length > 0 ? Math.max(...known) : undefined;
  };
  const eventLoop = most(samples.map((sample) => sample.eventLoop));
  const decode = load.kind === 'closed' ? samples.map((s) => decodeRate(s, load.users)) : [];
  const gaps = all.flatMap(({ tokens }) => tokens.slice(1).map((t, i) => t - tokens[i]));
  const isDecoding = (rate: number | undefined): rate is number => rate !== undefined;
  return {
    suite: 'serve',
    group: groupOf(given),
    x: load.kind === 'closed' ? load.users : load.rate,
    who: titles[contestant],
    ...{ contestant, load: load.kind, context, newTokens, shared },
    requests: all.length,
    tokensPerSecond: spreadOf(samples.map((sample) => totalRate(sample, newTokens))),
    decodeTokensPerSecond:
      decode.length > 0 && decode.every(isDecoding) ? spreadOf(decode) : undefined,
    firstToken: latency(all.map(({ due, tokens }) => tokens[0] - due)),
    perToken: gaps.length > 0 ? latency(gaps) : undefined,
    answer: latency(all.map(({ due, end }) => end - due)),
    peakMemory: most(samples.map((sample) => sample.peakMemory)),
    eventLoop: eventLoop === undefined ? undefined : eventLoop / 1000,
    agreement: contestant === 'server' || !own ? undefined : agreementOf(samples, own.samples),
  };
}

/** Tokens a second from the first request's due time to the last answer's end. */
function totalRate({ timelines }: Sample, newTokens: number): number {
  const begin = Math.min(...timelines.map(({ due }) => due));
  const end = Math.max(...timelines.map((timeline) => timeline.end));
  return (timelines.length * newTokens) / ((end - begin) / 1000);
}

/** Undefined when the first answer ended before the last one's first token. */
export function decodeRate({ timelines }: Sample, users: number): number | undefined {
  const first = timelines.slice(0, users);
  const begin = Math.max(...first.map(({ tokens }) => tokens[0]));
  const end = Math.min(...first.map(({ tokens }) => tokens[tokens.length - 1]));
  const count = first.flatMap(({ tokens }) => tokens).filter((t) => t > begin && t <= end).length;
  return end > begin ? count / ((end - begin) / 1000) : undefined;
}

function latency(milliseconds: readonly number[]): Latency {
  const sorted = [...milliseconds].sort((a, b) => a - b);
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
  return { p50: at(0.5) / 1000, p99: at(0.99) / 1000 };
}

const answersOf = (samples: readonly Sample[]): number[][] =>
  samples.flatMap(({ timelines }) => timelines.map(({ answer }: Timeline) => answer));

function agreementOf(samples: readonly Sample[], own: readonly Sample[]): number {
  const ours = answersOf(own);
  const shares = answersOf(samples).map((answer, n) => {
    const differs = answer.findIndex((token, at) => token !== ours[n][at]);
    return differs < 0 ? 1 : differs / answer.length;
  });
  return shares.reduce((sum, share) => sum + share, 0) / shares.length;
}
