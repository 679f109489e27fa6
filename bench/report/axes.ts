// The axes that charts of several benchmarks have.
import type { Row } from '../row.js';
import type { Axis } from './chart.js';
import { distinct } from './figures.js';
import { showBytes, showLength, showTime } from './units.js';

/** `20.0 ms` -> `20 ms`: round numbers need no more on an axis. */
export const short = (text: string): string => text.replace(/\.0+(?= |$)/, '');

/** Ticks at the values that were measured: lengths that double. */
export const lengthAxis = (label: string, rows: readonly Pick<Row, 'x'>[]): Axis => ({
  label,
  scale: 'log',
  ticks: distinct(rows.map(({ x }) => x)),
  show: showLength,
});

export const timeAxis = (label: string): Axis => ({
  label,
  scale: 'log',
  show: (value) => short(showTime(value)),
});

export const bytesAxis = (label: string, scale: Axis['scale']): Axis => ({
  label,
  scale,
  base: 2,
  show: (value) => short(showBytes(value)),
});
