// The columns of a suite's figures, as text: printed on the terminal and shown on the page.
import { isOurs, type Row } from '../row.js';
import { beyond, rateOf, shareOf, slowdownOf } from './figures.js';
import { showBytes, showFactor, showLength, showPercent, showRate, showTime } from './units.js';

interface Column {
  readonly title: string;
  /** Undefined where it does not apply to the row. */
  readonly show: (row: Row, rows: readonly Row[]) => string | undefined;
}

const apply = <T>(value: T | undefined, show: (value: T) => string): string | undefined =>
  value === undefined ? undefined : show(value);

const columns: readonly Column[] = [
  { title: 'at', show: ({ x }) => showLength(x) },
  { title: 'who', show: ({ who }) => who },
  { title: 'median', show: ({ time }) => apply(time, ({ median }) => showTime(median)) },
  { title: 'least', show: ({ time }) => apply(time, ({ min }) => showTime(min)) },
  {
    title: 'p10 to p90',
    show: ({ time }) => apply(time, ({ p10, p90 }) => `${showTime(p10)} to ${showTime(p90)}`),
  },
  { title: 'calls', show: ({ time }) => apply(time, ({ count }) => String(count)) },
  { title: 'rate', show: (row) => apply(rateOf(row), (r) => showRate(r.perSecond, r.unit)) },
  { title: 'of limit', show: (row) => apply(shareOf(row), showPercent) },
  { title: 'to ours', show: (row, rows) => apply(slowdownOf(rows, row), showFactor) },
  {
    title: '95 % within',
    show: ({ toOurs }) =>
      apply(toOurs, ({ low, high }) => `${showFactor(low)} to ${showFactor(high)}`),
  },
  { title: 'error', show: ({ error }) => apply(error, (e) => e.toExponential(1)) },
  { title: 'others', show: ({ disturbance }) => apply(disturbance, showPercent) },
  { title: 'peak', show: ({ peakMemory }) => apply(peakMemory, showBytes) },
  { title: 'beyond inputs, output', show: (row) => apply(beyond(row), showBytes) },
  { title: 'pages held', show: ({ heldMemory }) => apply(heldMemory, showBytes) },
  { title: 'ticks', show: ({ lateness }) => apply(lateness, ({ count }) => String(count)) },
  { title: 'late by, median', show: ({ lateness }) => apply(lateness, (l) => showTime(l.median)) },
  { title: 'latest', show: ({ lateness }) => apply(lateness, (l) => showTime(l.max)) },
];

export interface Table {
  readonly titles: string[];
  readonly lines: string[][];
  /** The lines that are our own. */
  readonly own: number[];
}

/** The columns that say anything about `group`; `rows` are those of the whole suite. */
export function tableOf(group: readonly Row[], rows: readonly Row[]): Table {
  const used = columns.filter(({ show }) => group.some((row) => show(row, rows) !== undefined));
  return {
    titles: used.map(({ title }) => title),
    lines: group.map((row) => used.map(({ show }) => show(row, rows) ?? '')),
    own: group.flatMap((row, at) => (isOurs(row) ? [at] : [])),
  };
}
