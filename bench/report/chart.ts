// A chart as data. A suite says in these words what its rows show; draw.ts alone draws.

export interface Axis {
  readonly label: string;
  /** Linear axes begin at 0; on a logarithmic one each decade takes the same width. */
  readonly scale: 'linear' | 'log';
  /** Where the axis has ticks; round values where it is left out. */
  readonly ticks?: readonly number[];
  /** Ticks at powers of this, on a logarithmic axis. The default is 10. */
  readonly base?: number;
  readonly show: (value: number) => string;
}

export interface Point {
  readonly x: number;
  readonly y: number;
  /** A vertical bar from the lowest to the highest. */
  readonly spread?: readonly [low: number, high: number];
  /** Shown when the pointer is on it. */
  readonly tip: string;
}

/** One contestant: a line through its points. */
export interface Series {
  readonly name: string;
  readonly color: Color;
  readonly points: readonly Point[];
}

/** A limit to hold the lines against, dashed. */
export interface Reference {
  readonly label: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface LineChart {
  readonly kind: 'lines';
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
  readonly references?: readonly Reference[];
  /** Points alone, where neighbours have nothing to do with each other. */
  readonly scattered?: boolean;
}

export interface Bar {
  readonly name: string;
  readonly color: Color;
  readonly value: number;
  /** A mark on the bar's row: what is possible at most. */
  readonly limit?: number;
  /** Written at the bar's end. */
  readonly label: string;
  readonly tip: string;
}

/** Horizontal bars, one row each. */
export interface BarChart {
  readonly kind: 'bars';
  readonly title: string;
  readonly scale: Axis['scale'];
  readonly bars: readonly Bar[];
}

/**
 * What a suite, or another benchmark, gives to be drawn. One without any point or bar is not drawn.
 */
export type Chart = LineChart | BarChart;

/** The colours of page.css, where each has a value for light and one for dark. */
export const colors = [
  'ours',
  'half',
  'brain',
  'alternative',
  'peer',
  'group',
  'onnx',
  'matmul',
  'standard',
  'other',
] as const;

export type Color = (typeof colors)[number];
