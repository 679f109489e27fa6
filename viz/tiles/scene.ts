import { range } from '../../lib/reference/layout.js';
import { scoringOf } from '../../lib/reference/score.js';
import type { Run } from '../model/algorithms.js';

/** What of a run's picture stays the same from step to step. */
export interface Scene {
  readonly run: Run;
  /** Whether query i sees key j. */
  readonly visible: readonly boolean[][];
  /** Where tiles begin, along queries and along keys. */
  readonly cuts: Readonly<Record<'queries' | 'keys', readonly number[]>>;
}

export function sceneOf(run: Run): Scene {
  const { problem, steps, algorithm } = run;
  const { seqlenQ, seqlenK } = problem.shape;
  const { sees } = scoringOf(problem, 0, 0, range(seqlenQ), seqlenQ, seqlenK);
  const visible = range(seqlenQ).map((i) => range(seqlenK).map((j) => sees(i, j)));
  const cuts = { queries: new Set<number>(), keys: new Set<number>() };
  for (const step of steps) {
    if (!('tile' in step) || algorithm.name === 'standard') continue;
    cuts.queries.add(step.tile.queries[0]);
    cuts.keys.add(step.tile.keys[0]);
  }
  return { run, visible, cuts: { queries: [...cuts.queries], keys: [...cuts.keys] } };
}
