// The figures that the server is held to: ratios, each of contestants that took turns in one
// run.
import { medianOf } from '../../bench/spread.js';
import type { ContestantName, Sample } from './contestant.js';
import { decodeRate, type Measured } from './row.js';

/** A ratio, and what it should be. */
export interface Figure {
  readonly what: string;
  readonly asked: number;
  /** The median of the rounds' ratios. */
  readonly measured: number;
  /** The least and the greatest ratio of a round. */
  readonly range: readonly [number, number];
  readonly holds: boolean;
}

/** What the figures need: a case for each. */
export interface FigurePoint {
  readonly users: number;
  readonly context: number;
  readonly shared: boolean;
  readonly contestants: readonly ContestantName[];
}

export const figurePoints: readonly FigurePoint[] = [
  { users: 1, context: 256, shared: false, contestants: ['engine', 'loop'] },
  { users: 1, context: 2048, shared: false, contestants: ['engine', 'loop'] },
  { users: 1, context: 2048, shared: true, contestants: ['engine'] },
  { users: 8, context: 2048, shared: false, contestants: ['engine', 'loop', 'batch'] },
];

/** @param all at least the cases of {@link figurePoints}, the rounds of all in the same order. */
export function figuresOf(all: readonly Measured[]): Figure[] {
  const find = (contestant: ContestantName, users: number, context: number, shared = false) => {
    const found = all.find(
      ({ given }) =>
        given.contestant === contestant &&
        given.load.kind === 'closed' &&
        given.load.users === users &&
        given.context === context &&
        given.shared === shared,
    );
    if (!found) throw new Error(`${contestant} was not measured with ${users} users`);
    return found;
  };
  /** Tokens a second of answers under way, ours by theirs. */
  const decode = (peer: ContestantName, users: number, context: number): number[] => {
    const rates = (who: ContestantName) =>
      find(who, users, context).samples.map((sample) => {
        const rate = decodeRate(sample, users);
        if (rate === undefined) throw new Error(`${who}: answers of ${users} users do not overlap`);
        return rate;
      });
    const theirs = rates(peer);
    return rates('engine').map((rate, round) => rate / theirs[round]);
  };
  const firstToken = ({ timelines: [{ due, tokens }] }: Sample): number => tokens[0] - due;
  const cold = find('engine', 1, 2048).samples.map(firstToken);
  const stored = find('engine', 1, 2048, true).samples.map(firstToken);
  const figure = (what: string, asked: number, ratios: readonly number[]): Figure => {
    const measured = medianOf(ratios);
    const range = [Math.min(...ratios), Math.max(...ratios)] as const;
    return { what, asked, measured, range, holds: measured >= asked };
  };
  const rate = 'tokens/s to onnxruntime-node';
  return [
    figure(`8 users at 2048: ${rate} as usual`, 3, decode('loop', 8, 2048)),
    figure(`8 users at 2048: ${rate}, best batch`, 1.5, decode('batch', 8, 2048)),
    figure(`1 user at 256: ${rate} as usual`, 0.95, decode('loop', 1, 256)),
    figure(`1 user at 2048: ${rate} as usual`, 1.3, decode('loop', 1, 2048)),
    figure(
      'shared prompt of 2048: first token of a new prompt to that of the second request',
      10,
      cold.map((time, round) => time / stored[round]),
    ),
  ];
}
