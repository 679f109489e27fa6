// The charts that rows make, as data.
import { lengthAxis, short, timeAxis } from '../../../bench/report/axes.js';
import type { Axis, Bar, BarChart, LineChart } from '../../../bench/report/chart.js';
import { colorOf } from '../../../bench/report/palette.js';
import { seriesOf } from '../../../bench/report/row-charts.js';
import { digits, showBytes, showFactor, showTime } from '../../../bench/report/units.js';
import type { Spread } from '../../../bench/spread.js';
import type { Latency, ServeRow } from '../row.js';
import { showLoad } from '../table.js';

const loadAxis = (rows: readonly ServeRow[]): Axis =>
  lengthAxis(rows.some(({ load }) => load === 'open') ? 'requests per second' : 'users', rows);

const tip = (row: ServeRow, ...more: string[]): string =>
  [row.who, showLoad(row), ...more].join('\n');

/** Medians of the rounds, with a bar from the least to the greatest. */
export function rateChart(
  title: string,
  rows: readonly ServeRow[],
  rateOf: (row: ServeRow) => Spread | undefined,
): LineChart {
  return {
    kind: 'lines',
    title,
    x: loadAxis(rows),
    y: { label: 'tokens per second', scale: 'linear', show: (value) => short(digits(value)) },
    series: seriesOf(rows, (row) => {
      const rate = rateOf(row);
      if (!rate) return undefined;
      const { median, min, max, count } = rate;
      const spread = count > 1 ? ([min, max] as const) : undefined;
      return { y: median, spread, tip: tip(row, `${digits(median)} tokens/s`) };
    }),
  };
}

/** The median and the 99th percentile, a chart each: a line goes through either. */
export const latencyCharts = (
  title: string,
  rows: readonly ServeRow[],
  label: string,
  latencyOf: (row: ServeRow) => Latency | undefined,
): LineChart[] =>
  (['p50', 'p99'] as const).map((quantile) => ({
    kind: 'lines',
    title: `${title}, ${quantile === 'p50' ? 'median' : quantile}`,
    x: loadAxis(rows),
    y: timeAxis(label),
    series: seriesOf(rows, (row) => {
      const y = latencyOf(row)?.[quantile];
      // A logarithmic axis has no 0: tokens that come in one piece are no time apart.
      return y ? { y, tip: tip(row, showTime(y)) } : undefined;
    }),
  }));

/** Of rows that are one point: a bar for each contestant. */
export function memoryChart(title: string, rows: readonly ServeRow[]): BarChart {
  const bars = rows.flatMap((row): Bar[] => {
    const { who: name, peakMemory: value } = row;
    if (value === undefined) return [];
    const label = showBytes(value);
    return [{ name, color: colorOf(name), value, label, tip: tip(row, label) }];
  });
  return { kind: 'bars', title, scale: 'linear', bars };
}

/** Of contestants at one load: the first token of prompts of their own and of shared ones. */
export function sharedChart(
  title: string,
  pairs: readonly (readonly [own: ServeRow, shared: ServeRow])[],
): BarChart {
  const bars = pairs.flatMap(([own, shared]) =>
    [own, shared].map((row): Bar => {
      const value = row.firstToken.p50;
      const factor = own.firstToken.p50 / value;
      const name = `${row.who}, ${row.shared ? 'shared' : 'own'}`;
      const label = `${showTime(value)}${row.shared ? `, ${showFactor(factor)}` : ''}`;
      const color = row.shared ? colorOf(row.who) : 'other';
      return { name, color, value, label, tip: tip(row, label) };
    }),
  );
  return { kind: 'bars', title, scale: 'log', bars };
}
