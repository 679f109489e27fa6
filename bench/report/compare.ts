import type { Result } from '../result-file.js';
import type { Row } from '../row.js';
import { medianOf } from '../spread.js';
import { showBytes, showLength, showTime } from './units.js';

const keyOf = ({ suite, group, x, who }: Row): string => [suite, group, x, who].join('\u0000');

interface Change {
  readonly row: Row;
  readonly before: string;
  readonly after: string;
  /** After over before: above 1 is worse. */
  readonly ratio: number;
  /** The ranges from p10 to p90 do not meet. */
  readonly clear: boolean;
}

function changeOf(before: Row, after: Row): Change | undefined {
  const [a, b] = before.time ? [before.time, after.time] : [before.lateness, after.lateness];
  if (a && b) {
    return {
      row: after,
      before: showTime(a.median),
      after: showTime(b.median),
      ratio: b.median / a.median,
      clear: a.p90 < b.p10 || b.p90 < a.p10,
    };
  }
  const [m, n] = [before.peakMemory, after.peakMemory];
  if (m !== undefined && n !== undefined) {
    const ratio = n / m;
    return { row: after, before: showBytes(m), after: showBytes(n), ratio, clear: true };
  }
  if (before.rate && after.rate) {
    const [p, r] = [before.rate.perSecond, after.rate.perSecond];
    const show = (rate: number) => `${(rate / 1e9).toFixed(1)} G${after.rate?.unit}/s`;
    return { row: after, before: show(p), after: show(r), ratio: p / r, clear: false };
  }
  return undefined;
}

/** The figures that both results have, side by side; `*` where the spreads do not overlap. */
export function compareResults(before: Result, after: Result): string {
  const known = new Map(before.rows.map((row) => [keyOf(row), row]));
  const changes = after.rows.flatMap((row) => {
    const old = known.get(keyOf(row));
    const change = old && changeOf(old, row);
    return change ? [change] : [];
  });
  if (changes.length === 0) return 'The two results have no figure in common.';
  const lines = changes.map(({ row, before, after, ratio, clear }) => [
    `${row.suite}: ${row.group}`,
    showLength(row.x),
    row.who,
    before,
    after,
    `${ratio.toFixed(2)}${clear && Math.abs(ratio - 1) >= 0.02 ? ' *' : '  '}`,
  ]);
  const titles = [
    'figure',
    'at',
    'who',
    before.date.slice(0, 16),
    after.date.slice(0, 16),
    'ratio',
  ];
  const widths = titles.map((title, at) =>
    Math.max(title.length, ...lines.map((line) => line[at].length)),
  );
  const text = (cells: readonly string[]) =>
    cells
      .map((cell, at) => (at < 3 ? cell.padEnd(widths[at]) : cell.padStart(widths[at])))
      .join('  ');
  const suites = [...new Set(changes.map(({ row }) => row.suite))].map((suite) => {
    const ratios = changes.filter(({ row }) => row.suite === suite).map(({ ratio }) => ratio);
    return `${suite}: median ratio ${medianOf(ratios).toFixed(3)} over ${ratios.length} figures`;
  });
  const warning =
    before.machine.cpu === after.machine.cpu && before.machine.threads === after.machine.threads
      ? []
      : ['The two results come from different machines or thread counts.'];
  return [
    ...warning,
    text(titles),
    ...lines.map(text),
    '',
    'ratio: after / before, above 1 is slower or larger; * the spreads (p10 to p90) do not overlap',
    ...suites,
  ].join('\n');
}
