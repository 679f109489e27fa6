import type { Result } from '../result-file.js';
import type { Row } from '../row.js';
import { beyond, distinct, groupsOf, rateOf, shareOf } from './figures.js';
import { tableOf } from './table.js';
import { showBytes, showLength, showPercent, showRate, showTime } from './units.js';

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

function markdownTable(titles: readonly string[], lines: readonly (readonly string[])[]): string {
  const rule = titles.map((_, at) => (at === 0 ? '---' : '---:'));
  return [line(titles), line(rule), ...lines.map(line)].join('\n');
}

/** The one or two figures of a row that matter most. */
function cell(row: Row | undefined): string {
  if (!row) return '';
  if (row.peakMemory !== undefined) {
    return `${showBytes(row.peakMemory)} (${showBytes(beyond(row) ?? 0)})`;
  }
  const rate = rateOf(row);
  const share = shareOf(row);
  return [
    row.time ? showTime(row.time.median) : undefined,
    rate && share === undefined ? showRate(rate.perSecond, rate.unit) : undefined,
    share === undefined ? undefined : showPercent(share),
  ]
    .filter(Boolean)
    .join(', ');
}

/**
 * Contestants side by side over the lengths; or one below the other, with all columns, at a single
 * one.
 */
function groupTable(group: readonly Row[], rows: readonly Row[]): string {
  const xs = distinct(group.map(({ x }) => x));
  if (xs.length === 1) {
    const { titles, lines } = tableOf(group, rows);
    // Without the first column, which says the same on every line.
    return markdownTable(
      titles.slice(1),
      lines.map((cells) => cells.slice(1)),
    );
  }
  const names = distinct(group.map(({ who }) => who));
  const lines = xs.map((x) => [
    showLength(x),
    ...names.map((name) => cell(group.find((row) => row.x === x && row.who === name))),
  ]);
  return markdownTable(['', ...names], lines);
}

/** Every suite and group as tables for a document. */
export function markdownOf({ rows }: Result): string {
  return distinct(rows.map(({ suite }) => suite))
    .map((suite) => {
      const own = rows.filter((row) => row.suite === suite);
      const groups = groupsOf(own).map(([name, group]) => `${name}:\n\n${groupTable(group, own)}`);
      return `## ${suite}\n\n${groups.join('\n\n')}`;
    })
    .join('\n\n');
}
