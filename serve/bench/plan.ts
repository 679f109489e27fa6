import type { Case, ContestantName, Load, ModelFiles } from './contestant.js';
import { figurePoints } from './figures.js';
import type { Options } from './options.js';

/** Contestants that take turns with the same load; all but `seed` is settled. */
export type Point = readonly Omit<Case, 'seed'>[];

/** Answers that contestants may have under way in an open loop. */
const openConcurrency = 16;

/** Rounds and tokens of an answer where the figures are measured. */
const figureRounds = 3;
const figureTokens = 96;

/**
 * Contestants that know a prompt again. To the others a shared prompt is one like any other, so
 * they are measured once.
 */
const keepsPrompts: readonly ContestantName[] = ['engine', 'server', 'llama-cpp'];

export interface Plan {
  readonly points: readonly Point[];
  readonly rounds: number;
}

export function planOf(
  options: Options,
  contestants: readonly ContestantName[],
  model: ModelFiles,
): Plan {
  const { threads, newTokens } = options;
  const point = (who: readonly ContestantName[], load: Load, rest: Partial<Case>): Point =>
    who.map((contestant) => ({
      ...{ contestant, load, threads, model, newTokens, shared: false, context: 0 },
      concurrency: load.kind === 'closed' ? load.users : openConcurrency,
      ...rest,
    }));
  if (options.figures) {
    const points = figurePoints.map(({ users, contestants: who, ...rest }) =>
      point(who, { kind: 'closed', users, requests: 1 }, { ...rest, newTokens: figureTokens }),
    );
    return { points, rounds: figureRounds };
  }
  const points: Point[] = [];
  if (options.load !== 'open') {
    const keepers = contestants.filter((name) => keepsPrompts.includes(name));
    for (const context of options.contexts) {
      for (const shared of options.shared && keepers.length > 0 ? [false, true] : [false]) {
        for (const users of options.users) {
          const load: Load = { kind: 'closed', users, requests: options.requests };
          points.push(point(shared ? keepers : contestants, load, { context, shared }));
        }
      }
    }
  }
  if (options.load !== 'closed') {
    for (const rate of options.rates) {
      const load: Load = { kind: 'open', rate, seconds: options.seconds };
      points.push(point(contestants, load, { context: options.openContext }));
    }
  }
  return { points: points.filter((cases) => cases.length > 0), rounds: options.rounds };
}
