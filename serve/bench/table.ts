import { digits, showBytes, showFactor, showPercent, showTime } from '../../bench/report/units.js';
import { isOurs } from '../../bench/row.js';
import type { Figure } from './figures.js';
import type { Latency, ServeRow } from './row.js';

const missing = '–';
const latency = ({ p50, p99 }: Latency): string => `${showTime(p50)} / ${showTime(p99)}`;
const orMissing = <T>(value: T | undefined, show: (value: T) => string): string =>
  value === undefined ? missing : show(value);

const columns: readonly [title: string, show: (row: ServeRow) => string][] = [
  ['who', ({ who }) => who],
  ['tokens/s', ({ tokensPerSecond }) => digits(tokensPerSecond.median)],
  ['decoding', (row) => orMissing(row.decodeTokensPerSecond, ({ median }) => digits(median))],
  ['first token p50 / p99', ({ firstToken }) => latency(firstToken)],
  ['per token p50 / p99', ({ perToken }) => latency(perToken)],
  ['answer p50 / p99', ({ answer }) => latency(answer)],
  ['memory', ({ peakMemory }) => orMissing(peakMemory, showBytes)],
  ['loop held', ({ eventLoop }) => orMissing(eventLoop, showTime)],
  ['same tokens', ({ agreement }) => orMissing(agreement, showPercent)],
];

const colored = process.stdout.hasColors?.() === true && !process.env.NO_COLOR;
const paint = (code: number, text: string): string =>
  colored ? `\u001b[${code}m${text}\u001b[0m` : text;

/** The rows of contestants that took turns. */
export function showPoint(rows: readonly ServeRow[]): string {
  const cells = rows.map((row) => columns.map(([, show]) => show(row)));
  const text = (line: readonly string[]) =>
    line
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at]) : cell.padStart(widths[at])))
      .join('  ');
  const widths = columns.map(([title], at) =>
    Math.max(title.length, ...cells.map((line) => line[at].length)),
  );
  const lines = rows.map((row, n) => {
    const line = text(cells[n]);
    return isOurs(row) ? paint(1, line) : line;
  });
  const head = text(columns.map(([title]) => title));
  const [{ group, load, x }] = rows;
  const point = load === 'closed' ? `${x} user${x > 1 ? 's' : ''}` : `${x} requests/s`;
  return `\n${paint(1, `${group}, ${point}`)}\n${paint(2, head)}\n${lines.join('\n')}`;
}

export function showFigures(figures: readonly Figure[]): string {
  const lines = figures.map(({ what, asked, measured, range, holds }) => {
    const [least, most] = range.map(showFactor);
    const is = `${showFactor(measured)} (${least} to ${most})`;
    return `${holds ? 'holds' : 'FAILS'}  ${is.padStart(24)}  asked ${showFactor(asked)}  ${what}`;
  });
  return `\n${lines.join('\n')}`;
}
