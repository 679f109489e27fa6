import { flashAttentionPaged, randn, synchronize, type Tensor, tensor } from '../../lib/index.js';
import type {
  CacheDType,
  KvCache,
  Sequence,
  StepAttentionOptions,
  StepEntry,
} from '../../lib/serving/index.js';
import { dtypeSize } from '../contestants.js';
import type { Context, FloatDType } from '../context.js';
import { alternate, type Contestant } from '../measure.js';
import { groupQueryStep } from '../peers/onnx-graphs.js';
import type { Chart } from '../report/chart.js';
import { distinct, groupsOf } from '../report/figures.js';
import { durationChart, pagesChart, timeChart, tokensChart } from '../report/row-charts.js';
import { ours, type Row } from '../row.js';
import {
  cacheDTypes,
  cacheFor,
  disposeRows,
  fill,
  model,
  type Rows,
  rowDType,
  rowsOf,
} from '../serving/filled-cache.js';
import { keyBytes } from '../shape.js';
import { type Spread, spreadOf } from '../spread.js';
import type { BenchCase, Suite } from '../suite.js';

type Figures = Partial<Pick<Row, 'bytes'>>;

/** Times contestants against each other; `parts` is how often a call does what is reported. */
async function race(
  { pace }: Context,
  where: Pick<Row, 'group' | 'x'>,
  contestants: readonly Contestant[],
  parts = 1,
  figures: (name: string) => Figures = () => ({}),
): Promise<Row[]> {
  const { times, disturbances } = await alternate(contestants, [], pace);
  return contestants.map(({ name }) => {
    const time = Object.fromEntries(
      Object.entries(times.get(name) as Spread).map(([key, value]) => [
        key,
        key === 'count' ? value : value / parts,
      ]),
    ) as unknown as Spread;
    const disturbance = disturbances.get(name);
    return { suite: 'serving', ...where, who: name, time, disturbance, ...figures(name) };
  });
}

/** All layers of a step with the same rows, and its end; what it added is forgotten again. */
async function decode(
  cache: KvCache,
  entries: readonly StepEntry[],
  layers: number,
  { q, k, v }: Rows,
  options: StepAttentionOptions = {},
): Promise<void> {
  const lengths = entries.map(({ sequence }) => sequence.length);
  const step = cache.step(entries);
  const outs = Array.from({ length: layers }, (_, layer) =>
    step.attention(layer, q, k, v, options),
  );
  await synchronize('cpu');
  for (const out of outs) out.dispose();
  step.commit();
  lengths.forEach((length, i) => {
    entries[i].sequence.truncate(length);
  });
}

const layers = 2;
/** Beyond it the copies that onnxruntime makes of its cache fill small machines. */
const longestPeer = 16384;

/** All layers over pages that are there already. */
function pagedAlone(
  seqlenK: number,
  dtype: CacheDType & FloatDType,
  row: Tensor,
): Contestant & { dispose(): void } {
  const pageSize = 16;
  const pages = Math.ceil(seqlenK / pageSize);
  const [kPages, vPages] = [4n, 5n].map((seed) =>
    randn([pages, pageSize, model.kvHeads, model.headDim], { seed, dtype, device: 'cpu' }),
  );
  const order = Int32Array.from({ length: pages }, (_, i) => i);
  const pageTable = tensor(order, [1, pages], { device: 'cpu' });
  const q = row.reshape([1, 1, model.heads, model.headDim]);
  return {
    name: `${ours} flashAttentionPaged alone, ${dtype}`,
    async call() {
      const outs = Array.from({ length: layers }, () =>
        flashAttentionPaged(q, kPages, vPages, { pageTable, seqlensK: [seqlenK] }),
      );
      await synchronize('cpu');
      for (const out of outs) out.dispose();
    },
    dispose() {
      for (const each of [q, kPages, vPages, pageTable]) each.dispose();
    },
  };
}

/** A layer of one new token: through a cache, over ready pages, and as Node has it elsewhere. */
async function oneToken(context: Context, past: number, dtype: CacheDType): Promise<Row[]> {
  const seqlenK = past + 1;
  const shape = { ...model, batch: 1, seqlenQ: 1, seqlenK, causal: true };
  const cache = cacheFor(seqlenK, { layers, dtype });
  const sequence = cache.createSequence();
  fill(cache, [sequence], past, { layers, dtype });
  const rows = rowsOf(1, dtype);
  // What a cache of 8 bits quantises is measured by its step alone.
  const alone = dtype === rowDType(dtype) ? pagedAlone(seqlenK, dtype, rows.q) : undefined;
  const numbers = [rows.q, rows.k, rows.v].map(async (each) => each.toFloat32());
  const [qs, ks, vs] = await Promise.all(numbers);
  const contestants: Contestant[] = [
    {
      name: `${ours} step of a cache, ${dtype}`,
      call: () => decode(cache, [{ sequence, tokens: 1 }], layers, rows),
    },
    {
      name: `${ours} step in place, numbers, ${dtype}`,
      async call() {
        const step = cache.step([{ sequence, tokens: 1 }]);
        for (let layer = 0; layer < layers; layer++) {
          step.attention(layer, qs, ks, vs, { sync: true });
        }
        step.commit();
        sequence.truncate(past);
      },
    },
  ];
  if (alone) contestants.push(alone);
  const { onnxRuntime } = context;
  const peer =
    onnxRuntime && past <= longestPeer && dtype === cacheDTypes[0]
      ? await onnxRuntime.load(...(await groupQueryArguments(seqlenK)))
      : null;
  if (peer) {
    contestants.push({
      name: 'onnxruntime GroupQueryAttention, past and present, float32',
      async call() {
        for (let layer = 0; layer < layers; layer++) await peer.run();
      },
    });
  }
  // A row of 8 bits has a float32 scale.
  const elementBytes =
    dtype === rowDType(dtype) ? dtypeSize[dtype] : 1 + dtypeSize.float32 / model.headDim;
  const bytes = (name: string) => ({
    bytes: keyBytes(shape, name.startsWith(ours) ? elementBytes : dtypeSize.float32),
  });
  try {
    const where = { group: 'one token, a layer, against its context', x: past };
    return await race(context, where, contestants, layers, bytes);
  } finally {
    await peer?.dispose();
    alone?.dispose();
    disposeRows(rows);
    cache.dispose();
  }
}

async function groupQueryArguments(seqlenK: number) {
  const rows = (count: number, seed: bigint) => randn([count], { seed, device: 'cpu' }).toFloat32();
  const { heads, kvHeads, headDim } = model;
  const past = kvHeads * (seqlenK - 1) * headDim;
  const [q, newK, newV, k, v] = await Promise.all([
    rows(heads * headDim, 1n),
    rows(kvHeads * headDim, 2n),
    rows(kvHeads * headDim, 3n),
    rows(past, 4n),
    rows(past, 5n),
  ]);
  const shape = { ...model, batch: 1, seqlenQ: 1, seqlenK, causal: true };
  const { graph, feeds } = groupQueryStep(shape, { q, k, v }, newK, newV);
  return [graph, feeds] as const;
}

/** A chunk of a prompt beside decoding, in one step and in two. */
async function mixed(context: Context): Promise<Row[]> {
  const [dtype] = cacheDTypes;
  const { quick } = context.choice;
  const [decoding, keys, chunk] = quick ? [7, 1024, 128] : [31, 4096, 512];
  const cache = cacheFor((decoding + 1) * (keys + chunk), { layers: 1, dtype });
  const sequences = Array.from({ length: decoding + 1 }, () => cache.createSequence());
  fill(cache, sequences, keys, { layers: 1, dtype });
  const [prompt, ...others] = sequences;
  const chunked = [{ sequence: prompt, tokens: chunk }];
  const decodes = others.map((sequence) => ({ sequence, tokens: 1 }));
  const [all, first, rest] = [chunk + decoding, chunk, decoding].map((n) => rowsOf(n, dtype));
  const contestants = [
    {
      name: `${ours}: in one step`,
      call: () => decode(cache, [...chunked, ...decodes], 1, all),
    },
    {
      name: `${ours}: the chunk, then the others`,
      async call() {
        await decode(cache, chunked, 1, first);
        await decode(cache, decodes, 1, rest);
      },
    },
  ];
  try {
    const group = `a chunk of ${chunk} beside ${decoding} that decode, a layer`;
    return await race(context, { group, x: keys }, contestants);
  } finally {
    for (const each of [all, first, rest]) disposeRows(each);
    cache.dispose();
  }
}

const prefixKeys = (context: Context) => (context.choice.quick ? 2048 : 8192);
const atOnce = (context: Context) => (context.choice.quick ? [8] : [1, 2, 4, 8, 16]);

/** Bytes of the pages that sequences hold, each page once. */
function heldBytes(cache: KvCache): number {
  const { used, pages, bytes } = cache.stats();
  return (bytes / pages) * used;
}

/** Decoding of many sequences that begin alike. */
async function onePrefix(context: Context, count: number): Promise<Row[]> {
  const [dtype] = cacheDTypes;
  const keys = prefixKeys(context);
  const own = 32;
  const cacheOf = (tokens: number) => cacheFor(tokens + count * own, { layers: 1, dtype });
  const grow = (cache: KvCache, all: readonly Sequence[]) => {
    fill(cache, all, keys + own / 2, { layers: 1, dtype });
    return all.map((sequence) => ({ sequence, tokens: 1 }));
  };
  const shared = cacheOf(keys);
  const root = shared.createSequence();
  fill(shared, [root], keys, { layers: 1, dtype });
  const forks = [root, ...Array.from({ length: count - 1 }, () => root.fork())];
  const together = grow(shared, forks);
  const separate = cacheOf(count * keys);
  const apart = grow(
    separate,
    Array.from({ length: count }, () => separate.createSequence()),
  );
  const rows = rowsOf(count, dtype);
  const group = 'sequences on one prefix, decoding, a layer';
  const contestants = [
    {
      name: `${ours}: shared pages`,
      call: () => decode(shared, together, 1, rows),
    },
    {
      name: `${ours}: shared pages, read by each`,
      call: () => decode(shared, together, 1, rows, { numSplits: 1 }),
    },
    {
      name: `${ours}: pages of their own`,
      call: () => decode(separate, apart, 1, rows),
    },
  ];
  try {
    const timed = await race(context, { group: `${keys} keys: ${group}`, x: count }, contestants);
    const held = [shared, shared, separate].map(heldBytes);
    return timed.map((row, i) => ({ ...row, heldMemory: held[i] }));
  } finally {
    disposeRows(rows);
    shared.dispose();
    separate.dispose();
  }
}

const seconds = (since: number): number => (performance.now() - since) / 1000;

/** What JavaScript and checks cost, apart from any attention. */
async function tables(context: Context): Promise<Row[]> {
  const { quick } = context.choice;
  const [count, tokens] = quick ? [16, 2048] : [64, 16384];
  const tiny = { layers: 1, kvHeads: 1, headDim: 8, dtype: 'float32' as const };
  const cache = cacheFor(count * (tokens + 16), tiny);
  const sequences = Array.from({ length: count }, () => cache.createSequence());
  fill(cache, sequences, tokens - 1, tiny);
  const rows = rowsOf(count, 'float32', { heads: 1, ...tiny });
  const times: [step: number, commit: number][] = [];
  for (let n = 0; n < (quick ? 20 : 200); n++) {
    const begin = performance.now();
    const step = cache.step(sequences.map((sequence) => ({ sequence, tokens: 1 })));
    const opened = seconds(begin);
    step.attention(0, rows.q, rows.k, rows.v, { window: [0, 0] }).dispose();
    await synchronize('cpu');
    const ending = performance.now();
    step.commit();
    times.push([opened, seconds(ending)]);
    for (const sequence of sequences) sequence.truncate(tokens - 1);
  }
  disposeRows(rows);
  cache.dispose();
  const row = (who: string, values: number[]): Row => ({
    suite: 'serving',
    group: `tables of ${count} sequences of ${tokens} tokens`,
    x: count,
    who: `${ours}: ${who}`,
    time: spreadOf(values),
  });
  return [
    row(
      'step()',
      times.map(([step]) => step),
    ),
    row(
      'commit()',
      times.map(([, commit]) => commit),
    ),
  ];
}

/** What a layer of one token costs beside its arithmetic: its one key is its own. */
async function layerCalls(context: Context): Promise<Row[]> {
  const count = 32;
  const [dtype] = cacheDTypes;
  const cache = cacheFor(16, { layers: count, dtype });
  const sequence = cache.createSequence();
  const rows = rowsOf(1, dtype);
  const [q, k, v] = await Promise.all([rows.q, rows.k, rows.v].map((each) => each.toFloat32()));
  const [cos, sin] = [1n, 2n].map((seed) =>
    randn([16, model.headDim / 2], { seed, device: 'cpu' }),
  );
  const options = { rotary: { cos, sin } };
  const enqueued: number[] = [];
  const inPlace: number[] = [];
  for (let n = 0; n < (context.choice.quick ? 20 : 200); n++) {
    {
      using step = cache.step([{ sequence, tokens: 1 }]);
      const begin = performance.now();
      const outs = Array.from({ length: count }, (_, layer) =>
        step.attention(layer, rows.q, rows.k, rows.v, options),
      );
      enqueued.push(seconds(begin) / count);
      await synchronize('cpu');
      for (const out of outs) out.dispose();
    }
    using step = cache.step([{ sequence, tokens: 1 }]);
    const begin = performance.now();
    for (let layer = 0; layer < count; layer++) {
      step.attention(layer, q, k, v, { ...options, sync: true });
    }
    inPlace.push(seconds(begin) / count);
  }
  for (const each of [cos, sin]) each.dispose();
  disposeRows(rows);
  cache.dispose();
  const row = (who: string, values: number[]): Row => ({
    suite: 'serving',
    group: 'a layer of one token over one key, rotated',
    x: 1,
    who: `${ours}: ${who}`,
    time: spreadOf(values),
  });
  return [row('enqueue', enqueued), row('in place, numbers', inPlace)];
}

function chartsOf(title: string, rows: readonly Row[]): Chart[] {
  if (rows.some(({ heldMemory }) => heldMemory !== undefined)) {
    return [tokensChart(title, rows), pagesChart(title, rows)];
  }
  if (distinct(rows.map(({ x }) => x)).length === 1) return [durationChart(title, rows)];
  return [timeChart(title, rows, { x: 'context', y: 'time of a token' })];
}

export const suite: Suite = {
  name: 'serving',
  summary: 'steps of a key-value cache: 32 heads on 8, head dim 128',
  rank: 3.5,
  section: {
    title: 'Serving',
    words:
      'Steps of a key-value cache in pages: tables, append, attention and commit, one layer of 32 ' +
      'heads on 8. Nothing that is in the cache is copied; onnxruntime, as Node gets it, copies its ' +
      'whole cache at every token.',
    charts: (rows) => groupsOf(rows).flatMap(([name, group]) => chartsOf(name, group)),
  },
  cases(context): BenchCase[] {
    const { quick, seqlens } = context.choice;
    const contexts = seqlens ?? (quick ? [4096] : [1024, 4096, 16384, 65536]);
    return [
      ...cacheDTypes.flatMap((dtype) =>
        contexts.map((keys) => ({
          label: `serving: one token after ${keys}, ${dtype}`,
          run: (of: Context) => oneToken(of, keys, dtype),
        })),
      ),
      { label: 'serving: a chunk beside decoding', run: mixed },
      ...atOnce(context).map((count) => ({
        label: `serving: ${count} on one prefix`,
        run: (of: Context) => onePrefix(of, count),
      })),
      { label: 'serving: step() and commit()', run: tables },
      { label: 'serving: calls of layers', run: layerCalls },
    ];
  },
};
