// A line chart with logarithmic axes, as SVG.
import { scaleLog } from 'd3-scale';
import { svg } from './dom.js';

export interface Line {
  readonly name: string;
  /** A class that gives the colour. */
  readonly color: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface ChartOptions {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly xText: (x: number) => string;
  readonly yText: (y: number) => string;
  /** Ticks of the axes. */
  readonly xTicks: readonly number[];
  readonly yTicks: readonly number[];
  /** The x whose points are marked. */
  readonly mark: number;
}

const [width, height] = [520, 320];
const margin = { left: 78, right: 22, top: 14, bottom: 30 };

export function chart(options: ChartOptions): SVGElement {
  const { title, lines, xText, yText, xTicks, yTicks, mark } = options;
  const xs = lines.flatMap(({ points }) => points.map(([x]) => x));
  const ys = [...lines.flatMap(({ points }) => points.map(([, y]) => y)), ...yTicks];
  const x = scaleLog()
    .domain([Math.min(...xs), Math.max(...xs)])
    .range([margin.left, width - margin.right]);
  const y = scaleLog()
    .domain([Math.min(...ys), Math.max(...ys)])
    .range([height - margin.bottom, margin.top]);
  const bottom = height - margin.bottom;

  const grid = [
    ...yTicks.map((tick) => `M${margin.left} ${y(tick)}H${width - margin.right}`),
    ...xTicks.map((tick) => `M${x(tick)} ${margin.top}V${bottom}`),
  ].join('');
  const labels = [
    ...xTicks.map((tick) =>
      svg('text', { x: x(tick), y: bottom + 19, 'text-anchor': 'middle' }, xText(tick)),
    ),
    ...yTicks.map((tick) =>
      svg('text', { x: margin.left - 8, y: y(tick) + 4, 'text-anchor': 'end' }, yText(tick)),
    ),
  ];
  const curves = lines.map(({ color, points }) => {
    const path = points.map(([px, py], n) => `${n === 0 ? 'M' : 'L'}${x(px)} ${y(py)}`).join('');
    return svg('path', { class: `curve ${color}`, d: path });
  });
  const marks = lines.flatMap(({ color, points, name }) => {
    const at = points.find(([px]) => px === mark);
    if (!at) return [];
    const text = svg('title', {}, `${name}, ${xText(mark)}: ${yText(at[1])}`);
    return [svg('circle', { class: color, cx: x(mark), cy: y(at[1]), r: 5 }, text)];
  });
  const said = lines.map(({ name, points }) => {
    const at = points.find(([px]) => px === mark);
    return at ? `${name} ${yText(at[1])}` : name;
  });
  const label = `${title}. At ${xText(mark)}: ${said.join(', ')}.`;
  return svg(
    'svg',
    { class: 'chart', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label },
    svg('path', { class: 'grid', d: grid }),
    svg('path', { class: 'mark', d: `M${x(mark)} ${margin.top}V${bottom}` }),
    ...labels,
    ...curves,
    ...marks,
  );
}
