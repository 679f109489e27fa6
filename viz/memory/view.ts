import { chart, type Line } from '../chart.js';
import { type Change, type Control, slider } from '../controls.js';
import { h, section, table } from '../dom.js';
import { bytes, times, tokens } from '../format.js';
import {
  bestBlocks,
  flash1Blocks,
  flash1Traffic,
  flash2Blocks,
  flash2Least,
  flashExtra,
  standardExtra,
  standardTraffic,
  tensors,
} from '../model/io-cost.js';
import { numbers, type Settings } from '../model/settings.js';
import type { View } from '../view.js';

/** Powers of two from the least to the most N of the controls. */
const lengths = Array.from(
  { length: numbers.logN.max - numbers.logN.min + 1 },
  (_, at) => 2 ** (numbers.logN.min + at),
);

/** Sizes of SRAM that the controls can take, in KiB. */
const sramSizes = Array.from(
  { length: numbers.sram.max / numbers.sram.min },
  (_, at) => (at + 1) * numbers.sram.min,
);

/** The lengths of the table that papers print. */
const printed = lengths.filter((n) => n >= 2048);

/** Powers of 1024 and what lies between, as ticks of bytes. */
const byteTicks = (least: number, most: number) =>
  Array.from({ length: 16 }, (_, power) => 2 ** (4 * power)).filter(
    (tick) => tick >= least / 4 && tick <= most,
  );

export function memoryView(change: Change): View {
  const controls: readonly Control[] = [
    slider({ label: 'Tokens N', name: 'logN', text: (x) => tokens(2 ** x) }, change),
    slider({ label: 'Head dim d', name: 'headDim', step: 16 }, change),
    slider({ label: 'Heads', name: 'heads' }, change),
    slider({ label: 'Bytes per element', name: 'bytes' }, change),
    slider({ label: 'SRAM', name: 'sram', step: 16, text: (x) => `${x} KiB` }, change),
  ];
  const body = h('div', { class: 'reports' });
  const element = h(
    'div',
    { class: 'memory' },
    h(
      'section',
      { class: 'card controls', 'aria-label': 'Controls' },
      ...controls.map((control) => control.element),
    ),
    body,
  );
  return {
    element,
    title: 'Memory and IO',
    show(settings) {
      for (const control of controls) control.show(settings);
      body.replaceChildren(
        memorySection(settings),
        trafficSection(settings),
        blockSection(settings),
        sramSection(settings),
        tableSection(settings),
      );
    },
  };
}

/** The size of all heads in bytes, from that of one in elements. */
const inBytes =
  ({ heads, bytes: size }: Settings) =>
  (elements: number) =>
    elements * heads * size;

const sramElements = ({ sram, bytes: size }: Settings) => (sram * 1024) / size;

function byLength(
  settings: Settings,
  name: string,
  color: string,
  elements: (n: number) => number,
): Line {
  const size = inBytes(settings);
  return { name, color, points: lengths.map((n) => [n, size(elements(n))] as const) };
}

/** A chart of bytes and its legend, which says the bytes at the mark. */
function plotted(
  title: string,
  lines: readonly Line[],
  mark: number,
  axis: { xText: (x: number) => string; xTicks: readonly number[] },
): HTMLElement {
  const values = lines.flatMap(({ points }) => points.map(([, y]) => y));
  const yTicks = byteTicks(Math.min(...values), Math.max(...values));
  const yText = (y: number) => bytes(y).replace(/\.0+ /, ' ');
  const items = lines.map(({ name, color, points }) => {
    const y = points.find(([x]) => x === mark)?.[1];
    const said = y === undefined ? '' : bytes(y);
    return h('li', { class: color }, h('i'), `${name} `, h('b', {}, said));
  });
  return h(
    'figure',
    {},
    chart({ title, lines, yText, yTicks, mark, ...axis }),
    h('ul', { class: 'lines' }, ...items),
  );
}

function lengthChart(title: string, { logN }: Settings, lines: readonly Line[]): HTMLElement {
  const xTicks = lengths.filter((_, at) => at % 2 === 0);
  return plotted(title, lines, 2 ** logN, { xText: tokens, xTicks });
}

function memorySection(settings: Settings): HTMLElement {
  const { headDim } = settings;
  const lines = [
    byLength(settings, 'Standard: S and P', 'c-standard', standardExtra),
    byLength(settings, 'Q, K, V, O', 'c-tensors', (n) => tensors(n, headDim)),
    byLength(settings, 'Flash: lse', 'c-flash', flashExtra),
  ];
  return section(
    'Memory',
    h('p', {}, 'Bytes that attention needs beside its inputs and its output, against N.'),
    lengthChart('Memory against tokens', settings, lines),
  );
}

function trafficSection(settings: Settings): HTMLElement {
  const { headDim: d } = settings;
  const sram = sramElements(settings);
  const lines = [
    byLength(settings, 'Standard', 'c-standard', (n) => standardTraffic(n, d)),
    byLength(settings, 'FlashAttention', 'c-flash1', (n) => flash1Traffic(n, d, sram)),
    byLength(settings, 'FlashAttention-2', 'c-flash', (n) => flash2Least(n, d, sram)),
  ];
  return section(
    'HBM traffic',
    h('p', {}, 'Bytes loaded and stored by a forward pass, with tiles that fit the SRAM.'),
    lengthChart('HBM traffic against tokens', settings, lines),
  );
}

/** The traffic at the N of the controls, against the size of the SRAM. */
function sramSection(settings: Settings): HTMLElement {
  const { headDim: d, logN, bytes: size, sram } = settings;
  const n = 2 ** logN;
  const total = inBytes(settings);
  const line = (name: string, color: string, traffic: (elements: number) => number): Line => ({
    name,
    color,
    points: sramSizes.map((kib) => [kib, total(traffic((kib * 1024) / size))] as const),
  });
  const lines = [
    line('Standard', 'c-standard', () => standardTraffic(n, d)),
    line('FlashAttention', 'c-flash1', (elements) => flash1Traffic(n, d, elements)),
    line('FlashAttention-2', 'c-flash', (elements) => flash2Least(n, d, elements)),
  ];
  return section(
    `HBM traffic against SRAM, ${tokens(n)} tokens`,
    h('p', {}, 'Larger tiles pass over K and V, or Q and O, fewer times.'),
    plotted(`HBM traffic against SRAM size`, lines, sram, {
      xText: (kib) => `${kib} KiB`,
      xTicks: [16, 32, 64, 128, 256, 512],
    }),
  );
}

function tableSection(settings: Settings): HTMLElement {
  const size = inBytes(settings);
  const { headDim: d } = settings;
  const sram = sramElements(settings);
  const rows = printed.map((n) => {
    const standard = size(standardTraffic(n, d));
    const flash = size(flash2Least(n, d, sram));
    return [
      tokens(n),
      bytes(size(standardExtra(n))),
      bytes(size(flashExtra(n))),
      times(standardExtra(n) / flashExtra(n)),
      bytes(standard),
      bytes(flash),
      times(standard / flash),
    ];
  });
  const head = ['N', 'S and P', 'lse', 'less', 'standard moves', 'flash moves', 'less'];
  const caption = `${settings.heads} heads of ${d}, ${settings.bytes} bytes per element`;
  const marked = printed.indexOf(2 ** settings.logN);
  const wide = section('2k to 128k tokens', table(caption, head, rows, marked));
  wide.classList.add('wide');
  return wide;
}

function blockSection(settings: Settings): HTMLElement {
  const { headDim: d, logN } = settings;
  const n = 2 ** logN;
  const sram = sramElements(settings);
  const size = inBytes(settings);
  const first = flash1Blocks(d, sram);
  const blocks = flash2Blocks(n, d, sram);
  const best = bestBlocks(n, d, sram);
  const rows = blocks.map((each) => [
    `${each.blockQ} × ${each.blockK}`,
    `${Math.round((100 * each.held) / sram)} %`,
    bytes(size(each.traffic)),
  ]);
  return section(
    'Block size for this SRAM',
    h(
      'p',
      {},
      'FlashAttention: ',
      h('b', {}, `Bc = ⌈M / 4d⌉ = ${first.blockK}`),
      `, Br = min(Bc, d) = ${first.blockQ}.`,
    ),
    best
      ? h(
          'p',
          { id: 'best' },
          'FlashAttention-2 moves least with ',
          h('b', {}, `Br × Bc = ${best.blockQ} × ${best.blockK}`),
          ': the more queries share a pass over K and V, the fewer passes there are.',
        )
      : h('p', { id: 'best' }, 'No tile of 16 keys fits.'),
    table(
      'FlashAttention-2: the most queries beside each number of keys',
      ['Br × Bc', 'of SRAM', 'moves'],
      rows,
      best ? blocks.indexOf(blocks.find(({ blockK }) => blockK === best.blockK) ?? best) : -1,
    ),
    h(
      'p',
      { class: 'soft' },
      'The model counts every element alike. Kernels keep O and S in registers as float32, and choose smaller tiles so that several blocks share a multiprocessor.',
    ),
  );
}
