// What is beside the picture: the loop, the memory, the traffic, the chosen query, the result.
import { h, table } from '../dom.js';
import { count, difference, span, value } from '../format.js';
import type { Algorithm, Run } from '../model/algorithms.js';
import type { MachineState, RowMoment } from '../model/replay.js';
import { colorOf, glyph } from '../model/names.js';
import { lineOf } from './describe.js';

export function loopPanel(algorithm: Algorithm, state: MachineState): HTMLElement {
  const at = lineOf(algorithm, state);
  const lines = algorithm.lines.map(({ text }, n) =>
    h('li', { class: n === at && 'now', 'aria-current': n === at && 'step' }, text),
  );
  return h(
    'div',
    {},
    h('ol', { class: 'loop' }, ...lines),
    h('p', { class: 'source' }, algorithm.source),
  );
}

/** What is in SRAM, as parts of the most that it holds in this run. */
export function sramPanel(state: MachineState, peak: number): HTMLElement {
  const parts = [...state.sram].filter(([, { elements }]) => elements > 0);
  const held = parts.reduce((sum, [, { elements }]) => sum + elements, 0);
  const bar = parts.map(([name, { elements }]) =>
    h('i', { class: `c-${colorOf[name]}`, style: `width:${(100 * elements) / peak}%` }),
  );
  const items = parts.map(([name, { elements }]) =>
    h('li', { class: `c-${colorOf[name]}` }, h('b', {}, glyph(name)), ` ${count(elements)}`),
  );
  return h(
    'div',
    {},
    h('div', { class: 'bar', role: 'presentation' }, ...bar),
    h(
      'ul',
      { class: 'parts' },
      ...(items.length > 0 ? items : [h('li', { class: 'soft' }, 'empty')]),
    ),
    h('p', { class: 'soft' }, `${count(held)} elements now, ${count(peak)} at most`),
  );
}

/** Loads and stores so far, of how many, beside standard attention. */
export function trafficPanel(run: Run, state: MachineState): HTMLElement {
  const { io, standardIo } = run;
  const total = io.loads + io.stores;
  const standard = standardIo && standardIo.loads + standardIo.stores;
  const full = Math.max(total, standard ?? 0);
  const moved = state.io.loads + state.io.stores;
  const line = (label: string, id: string, x: number, of: number) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row' }, label),
      h('td', { id, 'data-count': x }, count(x)),
      h('td', { class: 'soft' }, `of ${count(of)}`),
    );
  const bar = (color: string, x: number, of: number) =>
    h(
      'div',
      { class: `bar traffic ${color}`, role: 'presentation' },
      h('i', { style: `width:${(100 * x) / full}%` }),
      h('s', { style: `width:${(100 * (of - x)) / full}%` }),
    );
  const isStandard = run.algorithm.name === 'standard';
  return h(
    'div',
    {},
    h(
      'table',
      { class: 'plain' },
      h(
        'tbody',
        {},
        line('Loads', 'loads', state.io.loads, io.loads),
        line('Stores', 'stores', state.io.stores, io.stores),
      ),
    ),
    bar(isStandard ? 'c-standard' : 'c-flash', moved, total),
    ...(standard !== undefined && !isStandard
      ? [
          h('p', { class: 'soft' }, `Standard attention: ${count(standard)} elements`),
          bar('c-standard', standard, standard),
        ]
      : []),
  );
}

/** What is known of the chosen query, tile by tile. */
export function rowPanel(run: Run, state: MachineState): HTMLElement {
  const { name } = run.algorithm;
  const seqlenK = run.problem.shape.seqlenK;
  const columns = columnsOf[name];
  const keysOf = ({ keys }: RowMoment) => (keys[1] > keys[0] ? span('', keys).trim() : 'end');
  const rows = state.moments.map((moment) => [
    keysOf(moment).replace(/^s /, ''),
    ...columns.map(([, key]) => value(moment[key])),
  ]);
  const last = state.moments.at(-1)?.result;
  return h(
    'div',
    {},
    rows.length === 0
      ? h('p', { class: 'soft' }, `Nothing is known yet of its softmax over ${seqlenK} keys.`)
      : table('Tile by tile', ['keys', ...columns.map(([label]) => label)], rows.slice(-12)),
    ...(last ? [vector(name === 'backward' ? 'dQ' : 'O', last)] : []),
  );
}

type NumberOf = 'm' | 'l' | 'lse' | 'delta' | 'rescale';

const columnsOf: Readonly<
  Record<Algorithm['name'], readonly (readonly [label: string, key: NumberOf])[]>
> = {
  standard: [],
  flash1: [
    ['m', 'm'],
    ['ℓ', 'l'],
    ['O ×', 'rescale'],
  ],
  flash2: [
    ['m', 'm'],
    ['ℓ', 'l'],
    ['O ×', 'rescale'],
    ['lse', 'lse'],
  ],
  decoding: [['lse', 'lse']],
  backward: [
    ['lse', 'lse'],
    ['δ', 'delta'],
  ],
};

/** The components of a vector as bars up and down. */
function vector(name: string, components: Float64Array): HTMLElement {
  const most = components.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
  const bars = Array.from(components, (x) => {
    const size = (50 * Math.abs(x)) / most;
    const place = x < 0 ? 'top:50%' : `top:${50 - size}%`;
    return h('i', { style: `height:${size}%;${place}`, title: value(x) });
  });
  const numbers = Array.from(components.slice(0, 4), value).join(', ');
  const rest = components.length > 4 ? ', …' : '';
  return h(
    'figure',
    { class: `vector c-${colorOf[name]}` },
    h('div', { 'aria-hidden': 'true' }, ...bars),
    h('figcaption', {}, h('b', {}, name), ` = (${numbers}${rest})`),
  );
}

/** At the end: how far the result is from what it is compared with. */
export function resultPanel(run: Run, isDone: boolean): HTMLElement {
  if (!isDone) {
    return h(
      'p',
      { class: 'soft', id: 'result' },
      `At the end: compared with ${run.comparedWith}.`,
    );
  }
  return h(
    'p',
    { class: 'result', id: 'result', 'data-difference': run.difference },
    h('b', {}, difference(run.difference)),
    ` is the largest difference from ${run.comparedWith}.`,
  );
}
