// Which chart shows what.
import { isOurs, ours, type Row } from '../../row.js';
import { beyond, distinct, groupsOf, rateOf, shareOf, slowdownOf } from '../figures.js';
import {
  digits,
  showBytes,
  showFactor,
  showLength,
  showPercent,
  showRate,
  showTime,
} from '../units.js';
import { type Bar, barChart } from './bar-chart.js';
import { type Line, lineChart, type Point } from './line-chart.js';
import { colorClass, groupColor } from './palette.js';
import { binaryScale, lengthScale, linearScale, logScale } from './scale.js';

/** `20.0 ms` -> `20 ms`: round numbers need no more on an axis. */
const short = (text: string): string => text.replace(/\.0+(?= |$)/, '');

const whoAt = (row: Row, length = 'seqlen'): string => `${row.who}\n${length} ${showLength(row.x)}`;

/** What a tip says about a timed row. */
function timeTip(row: Row): string {
  const rate = rateOf(row);
  const share = shareOf(row);
  return [
    whoAt(row),
    row.time
      ? `${showTime(row.time.median)} (${showTime(row.time.p10)} to ${showTime(row.time.p90)})`
      : '',
    rate ? showRate(rate.perSecond, rate.unit) : '',
    share === undefined ? '' : `${showPercent(share)} of the limit`,
  ]
    .filter(Boolean)
    .join('\n');
}

/**
 * One line per contestant, from the rows that have a `y`; none for a single point among longer
 * lines.
 */
function linesOf(
  rows: readonly Row[],
  pointOf: (row: Row) => Omit<Point, 'x'> | undefined,
): Line[] {
  return distinct(rows.map(({ who }) => who)).flatMap((name) => {
    const points = rows.flatMap((row) => {
      const point = row.who === name ? pointOf(row) : undefined;
      return point ? [{ x: row.x, ...point }] : [];
    });
    const isStray = points.length < Math.min(2, distinct(rows.map(({ x }) => x)).length);
    return points.length > 0 && !isStray ? [{ name, color: colorClass(name), points }] : [];
  });
}

const allX = (lines: readonly Line[]): number[] =>
  lines.flatMap(({ points }) => points.map(({ x }) => x));
const allY = (lines: readonly Line[]): number[] =>
  lines.flatMap(({ points }) => points.flatMap(({ y, spread = [] }) => [y, ...spread]));

export function timeChart(
  title: string,
  rows: readonly Row[],
  { xTitle = 'sequence length', yTitle = 'median time of a call' } = {},
): string {
  const lines = linesOf(
    rows,
    (row) =>
      row.time && { y: row.time.median, spread: [row.time.p10, row.time.p90], tip: timeTip(row) },
  );
  if (lines.length === 0) return '';
  return lineChart({
    title,
    lines,
    xTitle,
    yTitle,
    scales: (xRange, yRange) => ({
      x: lengthScale(allX(lines), xRange),
      y: logScale(allY(lines), yRange),
    }),
    showX: showLength,
    showY: (value) => short(showTime(value)),
  });
}

export function shareChart(title: string, rows: readonly Row[]): string {
  const lines = linesOf(rows, (row) => {
    const y = shareOf(row);
    return y === undefined ? undefined : { y, tip: timeTip(row) };
  });
  if (lines.length === 0) return '';
  const xs = allX(lines);
  const peak = [Math.min(...xs), Math.max(...xs)].map((x) => [x, 1] as const);
  return lineChart({
    title,
    lines,
    references: [{ label: 'peak', points: peak }],
    xTitle: 'sequence length',
    yTitle: 'share of the measured arithmetic peak',
    scales: (xRange, yRange) => ({
      x: lengthScale(xs, xRange),
      y: linearScale(Math.max(1.08, ...allY(lines)), yRange),
    }),
    showX: showLength,
    showY: showPercent,
  });
}

/** How many times faster than the fastest foreign operator, one line per group. */
export function speedupChart(
  title: string,
  rows: readonly Row[],
  isPeer: (row: Row) => boolean,
): string {
  const lines = groupsOf(rows).flatMap(([name, group], i) => {
    const points = distinct(group.map(({ x }) => x)).flatMap((x) => {
      const peers = group.filter((row) => row.x === x && isPeer(row));
      const slowdowns = peers.map((row) => slowdownOf(rows, row) ?? Infinity);
      const y = Math.min(...slowdowns);
      const best = peers[slowdowns.indexOf(y)];
      return best
        ? [{ x, y, tip: `${name}, ${showLength(x)}\n${showFactor(y)} as fast as ${best.who}` }]
        : [];
    });
    return points.length > 0 ? [{ name, color: groupColor(i), points }] : [];
  });
  if (lines.length === 0) return '';
  const xs = allX(lines);
  const even = [Math.min(...xs), Math.max(...xs)].map((x) => [x, 1] as const);
  return lineChart({
    title,
    lines,
    references: [{ label: 'equal', points: even }],
    xTitle: 'sequence length',
    yTitle: 'times faster, float32',
    scales: (xRange, yRange) => ({
      x: lengthScale(xs, xRange),
      y: linearScale(Math.max(...allY(lines)) * 1.12, yRange),
    }),
    showX: showLength,
    showY: (value) => `${Number(value.toFixed(2))}x`,
  });
}

/** GFLOP/s over arithmetic intensity, below the machine's two roofs (Williams et al. 2009). */
export function roofline(rows: readonly Row[], peak: number, bandwidth: number): string {
  const lines = linesOf(
    rows.filter((row) => row.flops && row.bytes && row.time),
    (row) => ({
      y: (row.flops as number) / (row.time?.median as number),
      tip: `${row.suite}: ${row.group}\n${timeTip(row)}`,
    }),
  ).map((line) => ({ ...line, scattered: true }));
  const placed = lines.map((line) => ({
    ...line,
    points: rows
      .filter((row) => row.who === line.name && row.flops && row.bytes && row.time)
      .map((row, i) => ({ ...line.points[i], x: (row.flops as number) / (row.bytes as number) })),
  }));
  const xs = allX(placed);
  const [low, high] = [Math.min(...xs) / 2, Math.max(...xs) * 1.5];
  const ridge = peak / bandwidth;
  const roof = [low, ridge, high].map((x) => [x, Math.min(peak, bandwidth * x)] as const);
  const label = `${showRate(bandwidth, 'B')} from memory, ${showRate(peak, 'FLOP')}`;
  return lineChart({
    title: 'Roofline',
    lines: placed,
    references: [{ label, points: roof }],
    xTitle: 'operations per byte of inputs and outputs',
    yTitle: 'GFLOP/s',
    scales: (xRange, yRange) => ({
      x: logScale([low, high], xRange),
      y: logScale([...allY(placed), peak * 1.3, bandwidth * low], yRange),
    }),
    showX: (value) => short(digits(value)),
    showY: (value) => short(digits(value / 1e9)),
  });
}

export function memoryChart(title: string, rows: readonly Row[]): string {
  const lines = linesOf(rows, (row) =>
    row.peakMemory === undefined
      ? undefined
      : {
          y: row.peakMemory,
          tip: `${whoAt(row, 'keys')}\n${showBytes(row.peakMemory)}, ${showBytes(beyond(row) ?? 0)} beyond inputs and output`,
        },
  );
  const inherent = new Map(rows.map((row) => [row.x, row.inherentMemory as number]));
  return lineChart({
    title,
    lines,
    references: [{ label: 'inputs and output', points: [...inherent] }],
    xTitle: 'keys',
    yTitle: 'growth of the process',
    scales: (xRange, yRange) => ({
      x: lengthScale(allX(lines), xRange),
      y: binaryScale([...allY(lines), ...inherent.values()], yRange),
    }),
    showX: showLength,
    showY: (value) => short(showBytes(value)),
  });
}

/** Tokens per second of so many sequences, each of which gets one by a call. */
export function tokensChart(title: string, rows: readonly Row[]): string {
  const lines = linesOf(rows, (row) => {
    if (!row.time) return undefined;
    const y = row.x / row.time.median;
    return { y, tip: `${row.who}\n${row.x} sequences: ${digits(y)} tokens/s` };
  });
  if (lines.length === 0) return '';
  return sequencesChart(title, lines, 'tokens per second', (value) => short(digits(value)));
}

/** Bytes of the pages that so many sequences hold. */
export function pagesChart(title: string, rows: readonly Row[]): string {
  const lines = linesOf(rows, ({ who, x, heldMemory: y }) =>
    y === undefined ? undefined : { y, tip: `${who}\n${x} sequences: ${showBytes(y)}` },
  );
  if (lines.length === 0) return '';
  return sequencesChart(title, lines, 'pages held', (value) => short(showBytes(value)));
}

function sequencesChart(
  title: string,
  lines: readonly Line[],
  yTitle: string,
  showY: (value: number) => string,
): string {
  return lineChart({
    title,
    lines,
    xTitle: 'sequences',
    yTitle,
    scales: (xRange, yRange) => ({
      x: lengthScale(allX(lines), xRange),
      y: linearScale(Math.max(...allY(lines)) * 1.12, yRange),
    }),
    showX: String,
    showY,
  });
}

/** GB/s of keys and values, with the read bandwidth measured beside each as a mark. */
export function bandwidthChart(title: string, rows: readonly Row[]): string {
  const bars = rows.flatMap((row): Bar[] => {
    const rate = rateOf(row);
    if (!rate || !row.time) return [];
    const share = shareOf(row);
    return [
      {
        name: row.who,
        color: colorClass(row.who),
        value: rate.perSecond,
        limit: row.limit?.perSecond,
        label: `${showTime(row.time.median)}${share === undefined ? '' : `, ${showPercent(share)}`}`,
        tip: timeTip(row),
      },
    ];
  });
  return barChart({ title, bars });
}

export function durationChart(title: string, rows: readonly Row[]): string {
  const bars = rows.flatMap((row): Bar[] => {
    const value = row.lateness?.max ?? row.time?.median;
    if (value === undefined) return [];
    const rest = row.who.startsWith(`${ours}: `) ? row.who.slice(ours.length + 2) : row.who;
    return [
      {
        name: rest.replace('onnxruntime MultiHeadAttention', 'onnxruntime'),
        color: isOurs(row) ? 'c-ours' : colorClass(row.who),
        value,
        label: showTime(value),
        tip: `${row.who}\n${showTime(value)}`,
      },
    ];
  });
  return barChart({ title, bars, logarithmic: true });
}
