import { h, section } from '../dom.js';
import { bytes, count, flops, times } from '../format.js';
import { type Call, readCall } from '../model/call.js';
import { readTrace, type Timeline } from '../model/trace.js';
import { countTiles, gridOf, maxTiles } from '../model/call-grid.js';
import { onPaletteChange } from '../palette.js';
import type { View } from '../view.js';
import example from './example.json';
import { gridPicture } from './grid-picture.js';
import { timelineSection } from './timeline.js';

/** What it printed on a CPU with AVX-512 is example.json. */
const command =
  'npx flash-attention explain --seqlen-q 2048 --heads 8 --kv-heads 2 --head-dim 64 --window 511,0 --dtype bfloat16 --json';

const exampleText = JSON.stringify(example, null, 2);

/** @param given the texts of a plan and of a trace that came with the page. */
export function callView(given: { plan?: string; trace?: string }): View {
  const text = h('textarea', {
    id: 'plan-text',
    rows: 8,
    spellcheck: 'false',
    placeholder: '{ "plan": … }',
  });
  const file = fileInput('plan-file');
  const exampleButton = h('button', { type: 'button', id: 'example' }, 'The example again');
  const message = h('p', { class: 'message', id: 'plan-error', role: 'status' });
  const traceFile = fileInput('trace-file');
  const traceMessage = h('p', { class: 'message', id: 'trace-error', role: 'status' });
  const drawing = h('div', { class: 'call-drawing' });
  const element = h(
    'div',
    { class: 'call' },
    section(
      'A plan of yours',
      h('p', {}, 'Shown first is an example. Paste what this prints, or open it as a file:'),
      h('pre', { tabindex: 0 }, h('code', {}, command)),
      h('label', { for: 'plan-file' }, 'File'),
      file,
      h('label', { for: 'plan-text' }, 'JSON'),
      text,
      exampleButton,
      message,
      h('label', { for: 'trace-file' }, 'Trace, which --trace trace.json writes beside it'),
      traceFile,
      traceMessage,
    ),
    drawing,
  );

  let call: Call | undefined;
  let timeline: Timeline | undefined;

  function draw(): void {
    const available = drawing.clientWidth - 36;
    drawing.replaceChildren(
      ...(call ? [tilesSection(call, available)] : []),
      ...(timeline ? [timelineSection(timeline, available)] : []),
      ...(call ? [costSection(call)] : []),
    );
  }

  function read(): void {
    const json = text.value;
    call = parsed(message, () => (json.trim() === '' ? undefined : readCall(json)));
    draw();
  }

  function readTraceOf(json: string): void {
    timeline = parsed(traceMessage, () => readTrace(json));
    draw();
  }

  text.addEventListener('input', read);
  onChosen(traceFile, readTraceOf);
  exampleButton.addEventListener('click', () => {
    text.value = exampleText;
    read();
  });
  onChosen(file, (json) => {
    text.value = json;
    read();
  });
  let width = 0;
  new ResizeObserver(() => {
    if (drawing.clientWidth === width) return;
    width = drawing.clientWidth;
    draw();
  }).observe(drawing);
  onPaletteChange(draw);

  // The example is no plan of a trace that came alone.
  text.value = given.plan ?? (given.trace === undefined ? exampleText : '');
  return {
    element,
    title: 'Your own call',
    show: () => {
      if (!call) read();
      if (!timeline && given.trace !== undefined) readTraceOf(given.trace);
    },
  };
}

const fileInput = (id: string) =>
  h('input', { type: 'file', id, accept: '.json,application/json' });

function onChosen(input: HTMLInputElement, take: (json: string) => void): void {
  input.addEventListener('change', async () => {
    const [chosen] = input.files ?? [];
    if (chosen) take(await chosen.text());
  });
}

/** What `parse` gives; undefined where it throws, and the message then says why. */
function parsed<T>(message: HTMLElement, parse: () => T): T | undefined {
  message.textContent = '';
  try {
    return parse();
  } catch (error) {
    message.textContent = (error as Error).message;
    return undefined;
  }
}

function tilesSection({ plan, shape, missing }: Call, available: number): HTMLElement {
  const { tilesFull, tilesPartial, tilesSkipped } = plan;
  const planned = h(
    'p',
    {},
    h('b', {}, count(tilesFull)),
    ' full, ',
    h('b', {}, count(tilesPartial)),
    ' partial, ',
    h('b', {}, count(tilesSkipped)),
    ' skipped tiles over all heads.',
  );
  const title = `${plan.kernel}, tiles of ${plan.tileQ} × ${plan.tileK}`;
  if (!shape || countTiles(plan, shape) > maxTiles) {
    const why = missing ?? 'One kv head has more than 16 million tiles.';
    return section(title, planned, h('p', { class: 'message' }, `No tiles are drawn. ${why}`));
  }
  const grid = gridOf(plan, shape);
  const { counts, planes, rows, cols } = grid;
  const isSame =
    counts.full === tilesFull && counts.partial === tilesPartial && counts.skipped === tilesSkipped;
  const agrees = isSame
    ? 'The drawn tiles, counted over all heads, are those of the plan.'
    : `The plan counts otherwise: drawn are ${count(counts.full)} full, ${count(counts.partial)} partial, ${count(counts.skipped)} skipped. Its kernel leaves out other parts of a tile.`;
  return section(
    title,
    planned,
    h('div', { class: 'canvas' }, gridPicture(grid, plan, Math.max(available, 120))),
    h(
      'ul',
      { class: 'legend' },
      ...[
        ['full', 'full: no mask needed'],
        ['partial', 'partial: masked'],
        ['none', 'skipped: never touched'],
      ].map(([mark, said]) => h('li', {}, h('i', { class: `mark ${mark}` }), said)),
    ),
    h(
      'p',
      { class: 'soft' },
      `Queries run down, keys to the right: ${count(rows)} × ${count(cols)} tiles of one kv head, ${count(planes)} times. ${packing(plan.packedHeads)} ${work(plan, grid)}`,
    ),
    h('p', { id: 'agreement', 'data-agrees': String(isSame), class: 'soft' }, agrees),
  );
}

function packing(heads: number): string {
  return heads === 1
    ? 'A row of tiles is queries of one head.'
    : `${heads} query heads share a tile: each query has ${heads} rows in it.`;
}

/** Which part of the grid a work item takes. */
function work(
  { workItems, panels, numSplits, threads, device }: Call['plan'],
  { rows, planes, cols }: ReturnType<typeof gridOf>,
): string {
  const perPlane = Math.ceil(rows / panels) * Math.min(numSplits, cols);
  const heads = (perPlane * planes) / workItems;
  const who = device === 'cpu' ? `${threads} threads` : 'the blocks of the grid';
  const items = `${count(workItems)} work items for ${who}`;
  if (!Number.isInteger(heads)) return `${items}.`;
  const height = panels === 1 ? 'a row of tiles' : `${panels} rows of tiles, between two lines`;
  const splits = numSplits > 1 ? `, in one of ${numSplits} splits of the keys` : '';
  const together = heads > 1 ? `, of ${heads} kv heads` : '';
  return `${items}: each takes ${height}${splits}${together}.`;
}

function costSection({ plan, shape }: Call): HTMLElement {
  const { standardBytes, standardMemory } = plan;
  const rows: [string, string][] = [
    ['Device', `${plan.device}, ${plan.isa}`],
    ...(shape ? [['Call', callText(shape)] as [string, string]] : []),
    ['Work', flops(plan.flops)],
    ['Bytes moved', bytes(plan.bytes)],
    ['Standard attention moves', `${bytes(standardBytes)}, ${times(standardBytes / plan.bytes)}`],
    ['Scratch memory', bytes(plan.scratchBytes)],
    ['Standard attention keeps', bytes(standardMemory)],
  ];
  return section(
    'What it costs',
    h(
      'dl',
      { class: 'facts' },
      ...rows.flatMap(([name, said]) => [h('dt', {}, name), h('dd', {}, said)]),
    ),
  );
}

function callText(shape: NonNullable<Call['shape']>): string {
  const { batch, seqlenQ, seqlenK, heads, kvHeads, headDim, dtype, causal } = shape;
  const sizes = `${batch} × ${count(seqlenQ)} queries × ${count(seqlenK)} keys`;
  const headText = `${heads} heads of ${headDim}, ${kvHeads} kv heads`;
  return `${sizes}, ${headText}, ${dtype}${causal ? ', causal' : ''}`;
}
