// Charts and the page around them, as one static document: Observable Plot in a DOM without a
// browser.
import {
  axisX,
  axisY,
  barX,
  dot,
  gridX,
  gridY,
  line,
  plot,
  ruleX,
  text,
  tickX,
} from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import type { Axis, BarChart, Chart, LineChart } from './chart.js';

export const { document } = parseHTML('<!doctype html><html lang="en"></html>');

type Child = Node | string;

/** An element with attributes and children; text is text, never markup. */
export function h(
  name: string,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly Child[]
): HTMLElement {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const width = 480;
const inColor = ({ color }: { color: string }) => `var(--${color})`;

/** The extent of an axis, and where its ticks are. */
function extentOf(axis: Axis, values: readonly number[]) {
  const { scale, base = 10 } = axis;
  const most = Math.max(...values);
  if (scale === 'linear') {
    // About five round steps; of bytes, powers of two.
    const rough = most / 5;
    const power = base ** Math.floor(Math.log(rough) / Math.log(base));
    const factors = base === 10 ? [1, 2, 2.5, 5, 10] : [1, base];
    const step = power * (factors.find((factor) => factor * power >= rough) ?? base);
    const ticks = Array.from({ length: Math.floor((most * 1.08) / step) + 1 }, (_, n) => n * step);
    return { domain: [0, most * 1.08], ticks: axis.ticks ?? ticks };
  }
  const domain = [Math.min(...values) / 1.15, most * 1.15];
  const [low, high] = domain.map((value) => Math.log(value) / Math.log(base));
  // Powers alone where there are many; 1, 2 and 5 of each decade where there are few.
  const factors = base === 10 && high - low <= 3.5 ? [1, 2, 5] : [1];
  const step = Math.ceil((high - low) / 7);
  const powers = Array.from({ length: Math.ceil((high - low) / step) + 2 }, (_, n) => {
    return base ** (Math.floor(low / step) * step + n * step);
  });
  const ticks = powers
    .flatMap((power) => factors.map((factor) => factor * power))
    .filter((tick) => tick >= domain[0] && tick <= domain[1]);
  return { domain, ticks: axis.ticks ?? ticks };
}

function drawLines({ title, x, y, series, references = [], scattered }: LineChart) {
  const points = series.flatMap(({ name, points }) => points.map((p) => ({ ...p, name })));
  const limits = references.flatMap(({ label, points }) =>
    points.map(([px, py]) => ({ label, x: px, y: py })),
  );
  const ends = references.map(({ label, points }) => {
    const [px, py] = points[points.length - 1];
    return { label, x: px, y: py };
  });
  const spreads = points.flatMap(({ spread, ...p }) =>
    spread ? [{ ...p, low: spread[0], high: spread[1] }] : [],
  );
  const all = [...points, ...limits];
  const heights = [...all.map((p) => p.y), ...spreads.flatMap(({ low, high }) => [low, high])];
  const place = { x: 'x', y: 'y' } as const;
  const across = extentOf(
    x,
    all.map((p) => p.x),
  );
  const up = extentOf(y, heights);
  return {
    ariaLabel: `${title}: ${y.label} over ${x.label}`,
    height: 320,
    marginLeft: 66,
    marginTop: 30,
    marginBottom: 40,
    x: { type: x.scale, domain: across.domain },
    y: { type: y.scale, domain: up.domain },
    color: { domain: series.map(({ name }) => name), range: series.map(inColor), legend: true },
    marks: [
      gridX(across.ticks),
      gridY(up.ticks),
      // The text of every tick is given: d3 leaves some ticks of a logarithmic axis without.
      axisX(across.ticks, { label: x.label, text: x.show, tickSize: 0 }),
      axisY(up.ticks, { label: y.label, text: y.show, tickSize: 0 }),
      line(limits, { ...place, z: 'label', stroke: 'var(--soft)', strokeDasharray: '5 4' }),
      text(ends, {
        ...place,
        text: 'label',
        textAnchor: 'end',
        dx: -4,
        dy: -8,
        fill: 'var(--soft)',
      }),
      ruleX(spreads, { x: 'x', y1: 'low', y2: 'high', stroke: 'name', strokeOpacity: 0.55 }),
      ...(scattered ? [] : [line(points, { ...place, z: 'name', stroke: 'name', strokeWidth: 2 })]),
      dot(points, { ...place, fill: 'name', r: scattered ? 4 : 3, title: 'tip' }),
    ],
  };
}

function drawBars({ title, bars, scale }: BarChart) {
  const values = bars.flatMap(({ value, limit = value }) => [value, limit]);
  const most = Math.max(...values);
  // A logarithmic bar begins a good half decade below the smallest value.
  const least = scale === 'log' ? Math.min(...values) / 4 : 0;
  const rows = bars.map((bar) => ({ ...bar, end: Math.max(bar.value, bar.limit ?? 0) }));
  const limits = bars.filter(({ limit }) => limit !== undefined);
  return {
    ariaLabel: title,
    height: 26 * bars.length + 12,
    // Room for the longest name at about 7 px a letter, and for the label.
    marginLeft: Math.min(14 + 7 * Math.max(...bars.map(({ name }) => name.length)), 290),
    marginRight: 108,
    marginTop: 6,
    marginBottom: 6,
    x: { axis: null, type: scale, domain: [least, most] },
    y: { label: null, tickSize: 0, domain: bars.map(({ name }) => name) },
    marks: [
      barX(rows, {
        x1: () => least,
        x2: 'value',
        y: 'name',
        fill: inColor,
        insetTop: 1.5,
        insetBottom: 1.5,
        rx: 3,
        title: 'tip',
      }),
      tickX(limits, { x: 'limit', y: 'name', stroke: 'var(--ink)', strokeWidth: 2 }),
      text(rows, { x: 'end', y: 'name', text: 'label', textAnchor: 'start', dx: 7 }),
    ],
  } as const;
}

export const isEmpty = (chart: Chart): boolean =>
  chart.kind === 'lines'
    ? chart.series.every(({ points }) => points.length === 0)
    : chart.bars.length === 0;

/** A figure: the title as a heading, a legend, the chart as SVG. */
export function draw(chart: Chart): HTMLElement {
  const options = chart.kind === 'lines' ? drawLines(chart) : drawBars(chart);
  const figure = plot({
    document,
    title: h('h3', {}, chart.title),
    // The name of Plot's own class, else a random one.
    className: 'plot',
    style: { fontSize: '12px', background: 'none' },
    width,
    ...options,
  } as Parameters<typeof plot>[0]) as HTMLElement;
  figure.querySelector('svg.plot')?.setAttribute('role', 'img');
  // Groups of marks must not have names of their own.
  const named = figure.querySelectorAll('g[aria-label]:not([aria-hidden])');
  for (const group of named) group.removeAttribute('aria-label');
  return figure;
}
