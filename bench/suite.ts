// What a suite is. A new suite is one new file in bench/suites/ that exports `suite`;
// scripts/bench.mjs finds it there.
import type { Context } from './context.js';
import type { Row } from './row.js';

/** One thing to measure; a case takes seconds and is one step of the progress bar. */
export interface BenchCase {
  /** What the progress bar says, such as `forward full D 64 S 1024`. */
  readonly label: string;
  run(context: Context): Promise<Row[]>;
}

export interface Suite {
  readonly name: string;
  /** One line for --help. */
  readonly summary: string;
  /** Suites run and are reported in ascending order of it. */
  readonly rank: number;
  cases(context: Context): BenchCase[];
}
