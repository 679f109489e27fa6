// The HTML report: one static document from what suites say of their rows.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Chart } from '../../bench/report/chart.js';
import { document, draw, h } from '../../bench/report/draw.js';
import { pageOf } from '../../bench/report/page.js';
import {
  bandwidthChart,
  durationChart,
  memoryChart,
  roofline,
  speedupChart,
  timeChart,
} from '../../bench/report/row-charts.js';
import { isOnnxRuntime, type Row } from '../../bench/row.js';

/** The empty one: nothing is asked for. */
const icon = /<link rel="icon" href="data:,">|<link href="data:," rel="icon">/;

const root = path.resolve(import.meta.dirname, '../..');
const style = readFileSync(path.join(root, 'bench/report/page.css'), 'utf8');

const spread = (median: number) => ({
  count: 9,
  min: median * 0.9,
  p10: median * 0.95,
  median,
  p90: median * 1.2,
  max: median * 2,
});

const row = (who: string, x: number, seconds: number): Row => ({
  suite: 'forward',
  group: 'full, head dim 64',
  x,
  who,
  time: spread(seconds),
  flops: x * x * 256,
  bytes: x * 1024,
  limit: { kind: 'fma', perSecond: 1e11 },
});

const rows = [512, 1024, 2048].flatMap((x) => [
  row('flash-attention float32', x, x * x * 4e-9),
  row('onnxruntime Attention', x, x * x * 8e-9),
]);

const results = readdirSync(path.join(root, 'bench/results')).filter((name) =>
  name.endsWith('.json'),
);

const textsOf = (element: HTMLElement) =>
  [...element.querySelectorAll('text')].map((text) => text.textContent);

describe('charts', () => {
  const figure = draw(timeChart('full <64>', rows));

  it('a figure has its title, a legend of all contestants, and a picture with a name', () => {
    expect(figure.querySelector('h3')?.textContent).toBe('full <64>');
    const names = [...figure.querySelectorAll('.plot-swatch')].map((item) => item.textContent);
    expect(names).toEqual(['flash-attention float32', 'onnxruntime Attention']);
    const [picture, ...more] = figure.querySelectorAll('[role=img]');
    expect(more).toEqual([]);
    expect(picture.getAttribute('aria-label')).toBe(
      'full <64>: median time of a call over sequence length',
    );
    expect(figure.outerHTML).toContain('full &lt;64&gt;');
  });

  it('every point is there, and says what it is', () => {
    const tips = [...figure.querySelectorAll('circle title')].map((tip) => tip.textContent);
    expect(tips).toHaveLength(rows.length);
    expect(tips[0]).toMatch(
      /^flash-attention float32\nseqlen 512\n1\.05 ms \(996 µs to 1\.26 ms\)/,
    );
  });

  it('lengths that were measured are the ticks, and times the round ones', () => {
    const texts = textsOf(figure);
    expect(texts).toEqual(expect.arrayContaining(['512', '1024', '2048', '5 ms', '20 ms']));
  });

  it('a point twice as high is as far above on a logarithmic axis, wherever it is', () => {
    const at = [...figure.querySelectorAll('circle')].map((dot) => Number(dot.getAttribute('cy')));
    const [ours, theirs] = [at.slice(0, 3), at.slice(3)];
    const gaps = ours.map((y, i) => y - theirs[i]);
    for (const gap of gaps) expect(gap).toBeCloseTo(gaps[0], 6);
    // Four times the work at twice the length: twice the gap.
    expect(ours[0] - ours[1]).toBeCloseTo(2 * gaps[0], 6);
  });

  it('a single point among longer lines is left to the tables', () => {
    const stray = draw(timeChart('t', [...rows, row('plain JavaScript', 512, 2)]));
    expect(stray.querySelectorAll('circle')).toHaveLength(rows.length);
  });

  it('the dashed roof of a roofline bends where memory stops bounding', () => {
    const chart = roofline(rows, 1e11, 2e10);
    expect(chart.references?.[0].points[1]).toEqual([5, 1e11]);
    expect(draw(chart).querySelectorAll('circle')).toHaveLength(rows.length);
  });

  it('speed-ups are those of the fastest peer', () => {
    const [series] = speedupChart('s', rows, isOnnxRuntime).series;
    for (const { y } of series.points) expect(y).toBeCloseTo(2, 12);
  });

  it('bars are as long as their values, with a mark at the limit and a label', () => {
    const read = rows.slice(0, 2).map((r) => ({
      ...r,
      limit: { kind: 'read' as const, perSecond: 2e9 },
    }));
    const bars = draw(bandwidthChart('b', read));
    const [first, second] = [...bars.querySelectorAll('rect')].map((bar) =>
      Number(bar.getAttribute('width')),
    );
    expect(first / second).toBeCloseTo(2, 6);
    expect(textsOf(bars)).toEqual(expect.arrayContaining(['1.05 ms, 25 %', '2.10 ms, 12 %']));
    expect(bars.querySelectorAll('g[stroke="var(--ink)"] line')).toHaveLength(2);
  });

  it('bars of a tenth are shorter by the same wherever they are logarithmic', () => {
    const times = [1, 0.1, 0.01].map((t, i) => row(`flash-attention: ${i}`, 64, t));
    const widths = [...draw(durationChart('d', times)).querySelectorAll('rect')].map((bar) =>
      Number(bar.getAttribute('width')),
    );
    expect(widths[0] - widths[1]).toBeCloseTo(widths[1] - widths[2], 6);
  });

  it('ticks of bytes are powers of two', () => {
    const memory = [1, 2, 4].map((n) => ({
      ...row('flash-attention', 1024 * n, 1),
      peakMemory: n * 2 ** 25,
      inherentMemory: n * 2 ** 24,
    }));
    const texts = textsOf(draw(memoryChart('m', memory)));
    expect(texts).toEqual(expect.arrayContaining(['32 MiB', '64 MiB', '128 MiB']));
  });
});

describe('the page', () => {
  const page = {
    title: 'title <1>',
    heading: 'heading',
    words: 'words & more',
    facts: [['CPU', 'two <cores>']] as const,
    headlines: [{ figure: '2x', meaning: 'faster' }],
    footer: 'footer',
  };
  const section = (charts: readonly Chart[]) => ({
    title: 'Section',
    words: 'what it shows',
    charts,
    tables: [
      ['full', { titles: ['who', 'median'], lines: [['flash-attention', '1 ms']], own: [0] }],
    ] as const,
  });

  it('is one document of escaped text, without scripts and without a request', () => {
    const html = pageOf({ ...page, sections: [section([timeChart('t', rows)])] }, style);
    expect(html).toContain('two &lt;cores&gt;');
    expect(html).toContain('words &amp; more');
    expect(html).toContain(style.trim().split('\n')[0]);
    expect(html.replace(icon, '')).not.toMatch(/<script|<link|<img|url\(|src=|href=/);
    expect(html.match(/<html /g)).toHaveLength(1);
  });

  it('has nothing of a chart without points', () => {
    const empty: Chart = { ...timeChart('nothing', []), series: [] };
    const html = pageOf({ ...page, sections: [section([empty])] }, style);
    expect(html).not.toContain('<figure');
    expect(html).toContain('<tr class="own">');
  });

  it('elements are made of text, never of markup', () => {
    expect(h('p', { title: '"<' }, '<b>').outerHTML).toBe('<p title="&quot;<">&lt;b&gt;</p>');
    expect(document.doctype).not.toBeNull();
  });

  it.each(results)('times of %s are drawn', (name) => {
    const { rows } = JSON.parse(readFileSync(path.join(root, 'bench/results', name), 'utf8'));
    const drawn = draw(timeChart('all', rows));
    expect(drawn.outerHTML).not.toMatch(/NaN|undefined|Infinity/);
  });
});
