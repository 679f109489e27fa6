// What a suite is. A new suite is one new file in bench/suites/ that exports `suite`;
// scripts/bench.mjs finds it there.
import type { Context } from './context.js';
import type { Chart } from './report/chart.js';
import type { Row } from './row.js';

/** One thing to measure; a case takes seconds and is one step of the progress bar. */
export interface BenchCase {
  /** What the progress bar says, such as `forward full D 64 S 1024`. */
  readonly label: string;
  run(context: Context): Promise<Row[]>;
}

/**
 * A suite's part of the HTML report. `charts` are data (report/chart.ts): row-charts.ts makes the
 * usual ones from rows, and a suite may describe any other. What they are drawn with is none of a
 * suite's concern.
 */
export interface SuiteSection {
  readonly title: string;
  readonly words: string;
  /** From the suite's own rows, of which there is at least one, and from those of all suites. */
  charts(rows: readonly Row[], all: readonly Row[]): readonly Chart[];
}

export interface Suite {
  readonly name: string;
  /** One line for --help. */
  readonly summary: string;
  /** Suites run and are reported in ascending order of it. */
  readonly rank: number;
  readonly section: SuiteSection;
  cases(context: Context): BenchCase[];
}
