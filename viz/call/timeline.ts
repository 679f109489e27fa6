// Draws what each thread of the CPU did over time.
import { scaleLinear } from 'd3-scale';
import { h, section, table } from '../dom.js';
import { count } from '../format.js';
import type { Timeline } from '../model/trace.js';
import { type Palette, readPalette } from '../palette.js';

const laneHeight = 26;
const axisHeight = 24;
const nameWidth = 64;

/** Of kinds, in the order in which they appear. */
const colors = ['q', 'k', 'v', 'o', 'm', 's'] as const;

export function timelineSection(timeline: Timeline, available: number): HTMLElement {
  const { threads, kinds, duration } = timeline;
  const total = threads.reduce((sum, { items }) => sum + items.length, 0);
  return section(
    `${count(total)} work items in ${microseconds(duration)}`,
    h('p', {}, 'What each thread did over time. Where it is empty, a thread had no item.'),
    h('div', { class: 'canvas' }, picture(timeline, Math.max(available, 160))),
    h(
      'ul',
      { class: 'legend' },
      ...kinds.map((kind, at) =>
        h('li', {}, h('i', { class: 'mark', style: `background:var(--${colorOf(at)})` }), kind),
      ),
    ),
    table(
      'Threads of the trace',
      ['thread', 'items', 'busy', 'longest item', 'begins at', 'ends at'],
      threads.map(({ name, items, busy }) => {
        const longest = items.reduce((most, { begin, end }) => Math.max(most, end - begin), 0);
        return [
          name,
          count(items.length),
          `${duration > 0 ? ((100 * busy) / duration).toFixed(0) : 0} %`,
          microseconds(longest),
          microseconds(items[0].begin),
          microseconds(items[items.length - 1].end),
        ];
      }),
    ),
  );
}

const colorOf = (kind: number) => colors[kind % colors.length];

/** `12.3 µs`, `4.56 ms` */
function microseconds(x: number): string {
  const [value, unit] = x >= 999.5 ? [x / 1000, 'ms'] : [x, 'µs'];
  return `${value >= 99.95 ? count(value) : value.toPrecision(3)} ${unit}`;
}

function picture(timeline: Timeline, width: number): HTMLCanvasElement {
  const { threads, duration } = timeline;
  const height = threads.length * laneHeight + axisHeight;
  const density = Math.max(devicePixelRatio, 2);
  const canvas = h('canvas', {
    id: 'timeline',
    role: 'img',
    'aria-label': `${threads.length} threads over ${microseconds(duration)}; the table below has them in numbers.`,
    width: width * density,
    height: height * density,
    style: `width:${width}px;height:${height}px`,
  });
  const context = canvas.getContext('2d') as CanvasRenderingContext2D;
  context.scale(density, density);
  drawLanes(context, timeline, readPalette(), width);
  return canvas;
}

function drawLanes(
  context: CanvasRenderingContext2D,
  { threads, kinds, duration }: Timeline,
  palette: Palette,
  width: number,
): void {
  const x = scaleLinear([0, duration], [nameWidth, width - 1]);
  const bottom = threads.length * laneHeight;
  context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  context.textBaseline = 'middle';
  context.strokeStyle = palette.line;
  context.fillStyle = palette.soft;
  for (const tick of x.ticks(Math.max(2, Math.floor(width / 130)))) {
    const at = Math.round(x(tick)) + 0.5;
    context.beginPath();
    context.moveTo(at, 0);
    context.lineTo(at, bottom);
    context.stroke();
    // The last label would leave the picture.
    context.textAlign = at > width - 30 ? 'right' : 'center';
    context.fillText(tick === 0 ? '0' : microseconds(tick), at, bottom + axisHeight / 2);
  }
  threads.forEach(({ name, items }, lane) => {
    const top = lane * laneHeight + 3;
    context.textAlign = 'left';
    context.fillStyle = palette.ink;
    context.fillText(name, 0, top + laneHeight / 2 - 3, nameWidth - 6);
    for (const { kind, begin, end, item } of items) {
      context.fillStyle = palette[colorOf(kinds.indexOf(kind))];
      // Neighbours differ, so that items without a gap can be told apart.
      context.globalAlpha = item % 2 === 0 ? 0.9 : 0.6;
      context.fillRect(x(begin), top, Math.max(x(end) - x(begin), 0.5), laneHeight - 6);
    }
    context.globalAlpha = 1;
  });
}
