import type { Table } from '../../bench/report/table.js';
import { digits, showBytes, showFactor, showPercent, showTime } from '../../bench/report/units.js';
import { isOurs } from '../../bench/row.js';
import type { Figure } from './figures.js';
import type { Latency, ServeRow } from './row.js';

const missing = '–';
const latency = ({ p50, p99 }: Latency): string => `${showTime(p50)} / ${showTime(p99)}`;
const orMissing = <T>(value: T | undefined, show: (value: T) => string): string =>
  value === undefined ? missing : show(value);

/** The load of a point. */
export const showLoad = ({ load, x }: ServeRow): string =>
  `${x} ${load === 'closed' ? 'user' : 'request'}${x === 1 ? '' : 's'}${load === 'open' ? '/s' : ''}`;

type Column = readonly [title: string, show: (row: ServeRow) => string];

const columns = {
  who: ['who', ({ who }) => who],
  rate: ['tokens/s', ({ tokensPerSecond }) => digits(tokensPerSecond.median)],
  decoding: [
    'decoding',
    (row) => orMissing(row.decodeTokensPerSecond, ({ median }) => digits(median)),
  ],
  firstToken: ['first token p50 / p99', ({ firstToken }) => latency(firstToken)],
  perToken: ['per token p50 / p99', ({ perToken }) => orMissing(perToken, latency)],
  answer: ['answer p50 / p99', ({ answer }) => latency(answer)],
  memory: ['memory', ({ peakMemory }) => orMissing(peakMemory, showBytes)],
  eventLoop: ['loop held', ({ eventLoop }) => orMissing(eventLoop, showTime)],
  agreement: ['same tokens', ({ agreement }) => orMissing(agreement, showPercent)],
} satisfies Record<string, Column>;

export type ColumnName = keyof typeof columns;

const tableWith = (columns: readonly Column[], rows: readonly ServeRow[]): Table => ({
  titles: columns.map(([title]) => title),
  lines: rows.map((row) => columns.map(([, show]) => show(row))),
  own: rows.flatMap((row, at) => (isOurs(row) ? [at] : [])),
});

/** Some columns of the rows of a group. */
export const tableOf = (rows: readonly ServeRow[], names: readonly ColumnName[]): Table =>
  tableWith(
    [
      ['at', showLoad],
      columns.who,
      ['requests', ({ requests }) => String(requests)],
      ...names.map((name): Column => columns[name]),
    ],
    rows,
  );

const colored = process.stdout.hasColors?.() === true && !process.env.NO_COLOR;
const paint = (code: number, text: string): string =>
  colored ? `\u001b[${code}m${text}\u001b[0m` : text;

/** The rows of contestants that took turns. */
export function showPoint(rows: readonly ServeRow[]): string {
  const { titles, lines, own } = tableWith(Object.values(columns), rows);
  const widths = titles.map((title, at) =>
    Math.max(title.length, ...lines.map((line) => line[at].length)),
  );
  const text = (line: readonly string[]) =>
    line
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at]) : cell.padStart(widths[at])))
      .join('  ');
  const body = lines.map((line, n) => (own.includes(n) ? paint(1, text(line)) : text(line)));
  const title = `${rows[0].group}, ${showLoad(rows[0])}`;
  return `\n${paint(1, title)}\n${paint(2, text(titles))}\n${body.join('\n')}`;
}

const rangeOf = ({ range }: Figure): string => range.map(showFactor).join(' to ');

export function showFigures(figures: readonly Figure[]): string {
  const lines = figures.map((figure) => {
    const { what, asked, measured, holds } = figure;
    const is = `${showFactor(measured)} (${rangeOf(figure)})`;
    return `${holds ? 'holds' : 'FAILS'}  ${is.padStart(24)}  asked ${showFactor(asked)}  ${what}`;
  });
  return `\n${lines.join('\n')}`;
}

export const tableOfFigures = (figures: readonly Figure[]): Table => ({
  titles: ['figure', 'measured', 'of the rounds', 'asked', 'holds'],
  lines: figures.map((figure) => [
    figure.what,
    showFactor(figure.measured),
    rangeOf(figure),
    showFactor(figure.asked),
    figure.holds ? 'yes' : 'no',
  ]),
  own: [],
});
