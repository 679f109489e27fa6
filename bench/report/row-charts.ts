// The charts that rows make, as data.
import { isOurs, ours, type Row } from '../row.js';
import { bytesAxis, lengthAxis, short, timeAxis } from './axes.js';
import type { Bar, BarChart, Chart, LineChart, Point, Series } from './chart.js';
import { beyond, distinct, groupsOf, rateOf, shareOf, slowdownOf } from './figures.js';
import { colorAt, colorOf } from './palette.js';
import {
  digits,
  showBytes,
  showFactor,
  showLength,
  showPercent,
  showRate,
  showTime,
} from './units.js';

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
 * A series per contestant, of the rows that have a point; none for a single point among longer
 * lines. Where two would have one colour, each gets another.
 */
export function seriesOf<R extends Pick<Row, 'who' | 'x'>>(
  rows: readonly R[],
  pointOf: (row: R) => (Omit<Point, 'x'> & { x?: number }) | undefined,
): Series[] {
  const names = distinct(rows.map(({ who }) => who));
  const areAlike = distinct(names.map(colorOf)).length < names.length;
  return names.flatMap((name, at) => {
    const points = rows.flatMap((row) => {
      const point = row.who === name ? pointOf(row) : undefined;
      return point ? [{ x: row.x, ...point }] : [];
    });
    const color = areAlike ? colorAt(at) : colorOf(name);
    const isStray = points.length < Math.min(2, distinct(rows.map(({ x }) => x)).length);
    return points.length > 0 && !isStray ? [{ name, color, points }] : [];
  });
}

/** A line from the first x to the last, all along `y`. */
const level = (label: string, rows: readonly Row[], y: number) => {
  const xs = rows.map(({ x }) => x);
  return { label, points: [Math.min(...xs), Math.max(...xs)].map((x) => [x, y] as const) };
};

export function timeChart(
  title: string,
  rows: readonly Row[],
  { x = 'sequence length', y = 'median time of a call' } = {},
): LineChart {
  return {
    kind: 'lines',
    title,
    x: lengthAxis(x, rows),
    y: timeAxis(y),
    series: seriesOf(
      rows,
      (row) =>
        row.time && { y: row.time.median, spread: [row.time.p10, row.time.p90], tip: timeTip(row) },
    ),
  };
}

function shareChart(title: string, rows: readonly Row[]): LineChart {
  return {
    kind: 'lines',
    title,
    x: lengthAxis('sequence length', rows),
    y: { label: 'share of the measured arithmetic peak', scale: 'linear', show: showPercent },
    series: seriesOf(rows, (row) => {
      const y = shareOf(row);
      return y === undefined ? undefined : { y, tip: timeTip(row) };
    }),
    references: [level('peak', rows, 1)],
  };
}

/** Time and share of the peak of every group. */
export const timeAndShare = (rows: readonly Row[]): Chart[] =>
  groupsOf(rows).flatMap(([name, group]) => [timeChart(name, group), shareChart(name, group)]);

/** How many times faster than the fastest of the peers, one line per group. */
export function speedupChart(
  title: string,
  rows: readonly Row[],
  isPeer: (row: Row) => boolean,
): LineChart {
  const series = groupsOf(rows).flatMap(([name, group], at): Series[] => {
    const points = distinct(group.map(({ x }) => x)).flatMap((x) => {
      const peers = group.filter((row) => row.x === x && isPeer(row));
      const slowdowns = peers.map((row) => slowdownOf(rows, row) ?? Infinity);
      const y = Math.min(...slowdowns);
      const best = peers[slowdowns.indexOf(y)];
      return best && Number.isFinite(y)
        ? [{ x, y, tip: `${name}, ${showLength(x)}\n${showFactor(y)} as fast as ${best.who}` }]
        : [];
    });
    return points.length > 0 ? [{ name, color: colorAt(at), points }] : [];
  });
  return {
    kind: 'lines',
    title,
    x: lengthAxis('sequence length', rows),
    y: {
      label: 'times faster, float32',
      scale: 'linear',
      show: (value) => `${Number(value.toFixed(2))}x`,
    },
    series,
    references: [level('equal', rows, 1)],
  };
}

/** GFLOP/s over arithmetic intensity, below the machine's two roofs (Williams et al. 2009). */
export function roofline(rows: readonly Row[], peak: number, bandwidth: number): LineChart {
  const series = seriesOf(rows, (row) => {
    const { flops, bytes, time } = row;
    if (!flops || !bytes || !time) return undefined;
    const tip = `${row.suite}: ${row.group}\n${timeTip(row)}`;
    return { x: flops / bytes, y: flops / time.median, tip };
  });
  const xs = series.flatMap(({ points }) => points.map(({ x }) => x));
  const roof = [Math.min(...xs) / 2, peak / bandwidth, Math.max(...xs) * 1.5];
  return {
    kind: 'lines',
    scattered: true,
    title: 'Roofline',
    x: {
      label: 'operations per byte of inputs and outputs',
      scale: 'log',
      show: (value) => short(digits(value)),
    },
    y: { label: 'GFLOP/s', scale: 'log', show: (value) => short(digits(value / 1e9)) },
    series,
    references: [
      {
        label: `${showRate(bandwidth, 'B')} from memory, ${showRate(peak, 'FLOP')}`,
        points: roof.map((x) => [x, Math.min(peak, bandwidth * x)] as const),
      },
    ],
  };
}

export function memoryChart(title: string, rows: readonly Row[]): LineChart {
  const inherent = new Map(rows.map((row) => [row.x, row.inherentMemory as number]));
  return {
    kind: 'lines',
    title,
    x: lengthAxis('keys', rows),
    y: bytesAxis('growth of the process', 'log'),
    series: seriesOf(rows, (row) => {
      const y = row.peakMemory;
      if (y === undefined) return undefined;
      const more = `${showBytes(beyond(row) ?? 0)} beyond inputs and output`;
      return { y, tip: `${whoAt(row, 'keys')}\n${showBytes(y)}, ${more}` };
    }),
    references: [{ label: 'inputs and output', points: [...inherent] }],
  };
}

/** Tokens per second of so many sequences, each of which gets one by a call. */
export function tokensChart(title: string, rows: readonly Row[]): LineChart {
  return {
    kind: 'lines',
    title,
    x: lengthAxis('sequences', rows),
    y: { label: 'tokens per second', scale: 'linear', show: (value) => short(digits(value)) },
    series: seriesOf(rows, (row) => {
      if (!row.time) return undefined;
      const y = row.x / row.time.median;
      return { y, tip: `${row.who}\n${row.x} sequences: ${digits(y)} tokens/s` };
    }),
  };
}

/** Bytes of the pages that so many sequences hold. */
export function pagesChart(title: string, rows: readonly Row[]): LineChart {
  return {
    kind: 'lines',
    title,
    x: lengthAxis('sequences', rows),
    y: bytesAxis('pages held', 'linear'),
    series: seriesOf(rows, ({ who, x, heldMemory: y }) =>
      y === undefined ? undefined : { y, tip: `${who}\n${x} sequences: ${showBytes(y)}` },
    ),
  };
}

/** GB/s of keys and values, with the read bandwidth measured beside each as a mark. */
export function bandwidthChart(title: string, rows: readonly Row[]): BarChart {
  const bars = rows.flatMap((row): Bar[] => {
    const rate = rateOf(row);
    if (!rate || !row.time) return [];
    const share = shareOf(row);
    return [
      {
        name: row.who,
        color: colorOf(row.who),
        value: rate.perSecond,
        limit: row.limit?.perSecond,
        label: `${showTime(row.time.median)}${share === undefined ? '' : `, ${showPercent(share)}`}`,
        tip: timeTip(row),
      },
    ];
  });
  return { kind: 'bars', title, scale: 'linear', bars };
}

/** Times, or the longest delays, that may differ a thousandfold. */
export function durationChart(title: string, rows: readonly Row[]): BarChart {
  const bars = rows.flatMap((row): Bar[] => {
    const value = row.lateness?.max ?? row.time?.median;
    if (value === undefined) return [];
    const rest = row.who.startsWith(`${ours}: `) ? row.who.slice(ours.length + 2) : row.who;
    return [
      {
        name: rest.replace('onnxruntime MultiHeadAttention', 'onnxruntime'),
        color: isOurs(row) ? 'ours' : colorOf(row.who),
        value,
        label: showTime(value),
        tip: `${row.who}\n${showTime(value)}`,
      },
    ];
  });
  return { kind: 'bars', title, scale: 'log', bars };
}
