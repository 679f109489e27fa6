import { element, text } from './svg.js';

export interface Bar {
  readonly name: string;
  readonly color: string;
  readonly value: number;
  /** A mark on the bar's row: what is possible at most. */
  readonly limit?: number;
  readonly label: string;
  readonly tip: string;
}

export interface BarChart {
  readonly title: string;
  readonly bars: readonly Bar[];
  /** Each decade takes the same width: for values that differ a thousandfold. */
  readonly logarithmic?: boolean;
}

const width = 480;
const rowHeight = 26;
const plot = { left: 238, right: width - 92, top: 34 };

/** An SVG of horizontal bars, one row each. */
export function barChart({ title, bars, logarithmic }: BarChart): string {
  const values = bars.flatMap(({ value, limit }) => [value, limit ?? value]);
  const highest = Math.max(...values);
  // A logarithmic bar begins a good half decade below the smallest value.
  const lowest = Math.min(...values) / 4;
  const share = (value: number) =>
    logarithmic ? Math.log(value / lowest) / Math.log(highest / lowest) : value / highest;
  const length = (value: number) => Math.max(share(value) * (plot.right - plot.left), 1);
  const rows = bars.map(({ name, color, value, limit, label, tip }, i) => {
    const top = plot.top + i * rowHeight;
    const middle = top + rowHeight / 2 - 1;
    const end = plot.left + length(Math.max(value, limit ?? 0));
    const mark = limit && {
      d: `M${(plot.left + length(limit)).toFixed(1)},${top}v${rowHeight - 3}`,
      class: 'limit',
    };
    return element(
      'g',
      { class: color, 'data-who': name },
      text(name, { x: plot.left - 8, y: middle + 4, 'text-anchor': 'end', class: 'bar-name' }),
      element('rect', {
        x: plot.left,
        y: top + 3,
        width: length(value),
        height: rowHeight - 9,
        rx: 3,
        'data-tip': tip,
      }),
      mark ? element('path', mark) : '',
      text(label, { x: end + 7, y: middle + 4, class: 'bar-value' }),
    );
  });
  const height = plot.top + bars.length * rowHeight + 10;
  return element(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': title },
    text(title, { x: 12, y: 18, class: 'chart-title' }),
    ...rows,
  );
}
