import type { Scale } from './scale.js';
import { element, text } from './svg.js';

export interface Point {
  readonly x: number;
  readonly y: number;
  /** A vertical bar from the lowest to the highest. */
  readonly spread?: readonly [number, number];
  /** Shown when the pointer is on it. */
  readonly tip: string;
}

export interface Line {
  readonly name: string;
  /** CSS class of its colour. */
  readonly color: string;
  readonly points: readonly Point[];
  /** Points alone, where neighbours have nothing to do with each other. */
  readonly scattered?: boolean;
}

/** A limit to hold the lines against. */
export interface Reference {
  readonly label: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface LineChart {
  readonly title: string;
  readonly xTitle: string;
  readonly yTitle: string;
  readonly lines: readonly Line[];
  readonly references?: readonly Reference[];
  readonly scales: (xRange: [number, number], yRange: [number, number]) => { x: Scale; y: Scale };
  readonly showX: (value: number) => string;
  readonly showY: (value: number) => string;
}

const width = 480;
const height = 330;
const plot = { left: 62, right: width - 14, top: 48, bottom: height - 46 };

/** An SVG of lines, or of scattered points, over one or two logarithmic axes. */
export function lineChart(chart: LineChart): string {
  const { x, y } = chart.scales([plot.left, plot.right], [plot.bottom, plot.top]);
  const path = (points: readonly (readonly [number, number])[]) =>
    points
      .map(([px, py], i) => `${i ? 'L' : 'M'}${x.at(px).toFixed(1)},${y.at(py).toFixed(1)}`)
      .join('');

  const references = (chart.references ?? []).flatMap(({ label, points }) => {
    const [endX, endY] = points[points.length - 1];
    const at = { x: x.at(endX) - 4, y: y.at(endY) - 5, 'text-anchor': 'end', class: 'reference' };
    return [element('path', { d: path(points), class: 'reference' }), text(label, at)];
  });
  const lines = chart.lines.map(({ name, color, points, scattered }) => {
    const marks = points.flatMap(({ x: px, y: py, spread, tip }) => {
      const at = { cx: x.at(px), cy: y.at(py) };
      const bar = spread && {
        d: path([
          [px, spread[0]],
          [px, spread[1]],
        ]),
        class: 'spread',
      };
      return [
        bar ? element('path', bar) : '',
        element('circle', { ...at, r: scattered ? 4.5 : 3.5, 'data-tip': tip }),
      ];
    });
    const line = scattered
      ? ''
      : element('path', { d: path(points.map((p) => [p.x, p.y])), class: 'line' });
    return element('g', { class: color, 'data-who': name }, line, ...marks);
  });
  const label = `${chart.title}: ${chart.yTitle} over ${chart.xTitle}`;
  return element(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label },
    text(chart.title, { x: 12, y: 18, class: 'chart-title' }),
    ...axes(chart, x, y),
    ...references,
    ...lines,
  );
}

function axes({ showX, showY, xTitle, yTitle }: LineChart, x: Scale, y: Scale): string[] {
  const horizontal = y.ticks.flatMap((tick) => {
    const at = y.at(tick);
    return [
      element('path', { d: `M${plot.left},${at.toFixed(1)}H${plot.right}`, class: 'grid' }),
      text(showY(tick), { x: plot.left - 7, y: at + 4, 'text-anchor': 'end', class: 'tick' }),
    ];
  });
  const vertical = x.ticks.flatMap((tick) => {
    const at = x.at(tick);
    return [
      element('path', { d: `M${at.toFixed(1)},${plot.top}V${plot.bottom}`, class: 'grid' }),
      text(showX(tick), { x: at, y: plot.bottom + 17, 'text-anchor': 'middle', class: 'tick' }),
    ];
  });
  const middle = (plot.left + plot.right) / 2;
  const centre = { 'text-anchor': 'middle', class: 'axis-title' };
  return [
    ...horizontal,
    ...vertical,
    text(xTitle, { x: middle, y: height - 8, ...centre }),
    text(yTitle, { x: 12, y: 36, class: 'axis-title' }),
  ];
}
