import { flashAttentionPaged, randn, synchronize, type Tensor, tensor } from '../../lib/index.js';
import type {
  KvCache,
  Sequence,
  StepAttentionOptions,
  StepEntry,
} from '../../lib/serving/index.js';
import { dtypeSize } from '../contestants.js';
import type { Context } from '../context.js';
import { type Checked, deviations } from '../entrant.js';
import { alternate, type Contestant } from '../measure.js';
import { groupQueryStep, quantizedGroupQueryStep } from '../peers/onnx-graphs.js';
import type { Chart } from '../report/chart.js';
import { distinct, groupsOf } from '../report/figures.js';
import { durationChart, pagesChart, timeChart, tokensChart } from '../report/row-charts.js';
import { ours, type Row } from '../row.js';
import {
  cacheDTypes,
  cacheFor,
  disposeRows,
  fill,
  filledNumbers,
  filledToken,
  model,
  type Rows,
  rowAt,
  rowsBetween,
  rowsOf,
  type TokenNumbers,
} from '../serving/filled-cache.js';
import { TokensOracle } from '../serving/tokens-oracle.js';
import { keyBytes } from '../shape.js';
import { type Spread, spreadOf } from '../spread.js';
import type { BenchCase, Suite } from '../suite.js';

type Figures = Partial<Pick<Row, 'bytes'>>;

/** Whoever computes a step; the result is `[tokens, heads, headDim]`. */
type Contender = Contestant & Pick<Checked, 'dtype' | 'result'>;

/** Checks contestants and times them against each other; `parts`: what is reported, per call. */
async function race(
  { pace }: Context,
  where: Pick<Row, 'group' | 'x'>,
  oracle: TokensOracle,
  contestants: readonly Contender[],
  parts = 1,
  figures: (contestant: Contender) => Figures = () => ({}),
): Promise<Row[]> {
  const checked = contestants.map((each) => ({ ...each, layout: 'bshd' as const }));
  const errors = await deviations({ ...where, oracle }, checked);
  const { times, disturbances } = await alternate(contestants, [], pace);
  return contestants.map((contestant) => {
    const { name } = contestant;
    const time = Object.fromEntries(
      Object.entries(times.get(name) as Spread).map(([key, value]) => [
        key,
        key === 'count' ? value : value / parts,
      ]),
    ) as unknown as Spread;
    const [error, disturbance] = [errors.get(name), disturbances.get(name)];
    const measured = { time, error, disturbance, ...figures(contestant) };
    return { suite: 'serving', ...where, who: name, ...measured };
  });
}

/**
 * All layers of a step with the same rows, and its end; what it added is forgotten again. Gives
 * what `read` makes of the last layer's result.
 */
async function decode<T = void>(
  cache: KvCache,
  entries: readonly StepEntry[],
  layers: number,
  { q, k, v }: Rows,
  options: StepAttentionOptions = {},
  read?: (out: Tensor) => Promise<T>,
): Promise<T | undefined> {
  const lengths = entries.map(({ sequence }) => sequence.length);
  const step = cache.step(entries);
  const outs = Array.from({ length: layers }, (_, layer) =>
    step.attention(layer, q, k, v, options),
  );
  const result = await read?.(outs[layers - 1]);
  await synchronize('cpu');
  for (const out of outs) out.dispose();
  step.commit();
  lengths.forEach((length, i) => {
    entries[i].sequence.truncate(length);
  });
  return result;
}

const numbersOf = (tensor: Tensor): Promise<Float32Array> => tensor.toFloat32();

/** A step of a cache, as a contestant. */
function stepContender(
  name: string,
  dtype: (typeof cacheDTypes)[number],
  ...[cache, entries, count, rows, options]: Parameters<typeof decode>
): Contender {
  return {
    name,
    dtype,
    call: () => decode(cache, entries, count, rows, options),
    result: async () =>
      (await decode(cache, entries, count, rows, options, numbersOf)) as Float32Array,
  };
}

const layers = 2;
/** Beyond it the copies that onnxruntime makes of its cache fill small machines. */
const longestPeer = { bfloat16: 16384, int8: 65536 } as const;

/** All layers over pages that are there already: those of `filled`, and the new token's. */
async function pagedAlone(
  past: number,
  dtype: 'bfloat16',
  filled: TokenNumbers,
  rows: Rows,
): Promise<Contender & { dispose(): void }> {
  const pageSize = 16;
  const pages = Math.ceil((past + 1) / pageSize);
  const shape = [pages, pageSize, model.kvHeads, model.headDim];
  const width = model.kvHeads * model.headDim;
  const pagesOf = async (tokens: Float32Array, last: Tensor): Promise<Tensor> => {
    const all = new Float32Array(pages * pageSize * width);
    for (let token = 0; token < past; token++) {
      const at = filledToken(token) * width;
      all.set(tokens.subarray(at, at + width), token * width);
    }
    all.set(await last.toFloat32(), past * width);
    return tensor(all, shape, { dtype, device: 'cpu' });
  };
  const kPages = await pagesOf(filled.k, rows.k);
  const vPages = await pagesOf(filled.v, rows.v);
  const order = Int32Array.from({ length: pages }, (_, i) => i);
  const pageTable = tensor(order, [1, pages], { device: 'cpu' });
  const q = rows.q.reshape([1, 1, model.heads, model.headDim]);
  const attend = () => flashAttentionPaged(q, kPages, vPages, { pageTable, seqlensK: [past + 1] });
  return {
    name: `${ours} flashAttentionPaged alone, ${dtype}`,
    dtype,
    async call() {
      const outs = Array.from({ length: layers }, attend);
      await synchronize('cpu');
      for (const out of outs) out.dispose();
    },
    result: () => attend().toFloat32(),
    dispose() {
      for (const each of [q, kPages, vPages, pageTable]) each.dispose();
    },
  };
}

/** All layers by onnxruntime as Node gets it: the cache comes in and goes out at every token. */
async function groupQuery(
  { onnxRuntime }: Context,
  past: number,
  cacheDType: (typeof cacheDTypes)[number],
  filled: TokenNumbers,
  [q, newK, newV]: readonly Float32Array[],
): Promise<(Contender & { dispose(): Promise<void> }) | undefined> {
  if (!onnxRuntime || past > longestPeer[cacheDType]) return undefined;
  const { kvHeads, headDim } = model;
  const planes = (tokens: 'k' | 'v'): Float32Array => {
    const all = new Float32Array(kvHeads * past * headDim);
    for (let head = 0, at = 0; head < kvHeads; head++) {
      for (let token = 0; token < past; token++, at += headDim) {
        const [k, v] = rowAt(filled, filledToken(token), head);
        all.set(tokens === 'k' ? k : v, at);
      }
    }
    return all;
  };
  const shape = { ...model, batch: 1, seqlenQ: 1, seqlenK: past + 1, causal: true };
  const dtype = cacheDType === 'int8' ? 'int8' : 'float32';
  const graphOf = dtype === 'int8' ? quantizedGroupQueryStep : groupQueryStep;
  const { graph, feeds } = graphOf(shape, { q, k: planes('k'), v: planes('v') }, newK, newV);
  const peer = await onnxRuntime.load(graph, feeds);
  return {
    name: `onnxruntime GroupQueryAttention, past and present, ${dtype}`,
    dtype,
    async call() {
      for (let layer = 0; layer < layers; layer++) await peer.run();
    },
    result: () => peer.run(),
    dispose: () => peer.dispose(),
  };
}

/** A layer of one new token: through a cache, over ready pages, and as Node has it elsewhere. */
async function oneToken(
  context: Context,
  past: number,
  dtype: (typeof cacheDTypes)[number],
): Promise<Row[]> {
  const seqlenK = past + 1;
  const shape = { ...model, batch: 1, seqlenQ: 1, seqlenK, causal: true };
  const cache = cacheFor(seqlenK, { layers, dtype });
  const sequence = cache.createSequence();
  fill(cache, [sequence], past, { layers, dtype });
  const filled = await filledNumbers(dtype);
  const rows = rowsOf(1, dtype);
  const numbers = await Promise.all([rows.q, rows.k, rows.v].map(numbersOf));
  const [qs, ks, vs] = numbers;
  const oracle = new TokensOracle(qs, () => ({
    keys: seqlenK,
    rowsOf: (key, head) =>
      key < past ? rowAt(filled, filledToken(key), head) : rowAt({ k: ks, v: vs }, 0, head),
  }));
  const inPlace = (): Float32Array => {
    const step = cache.step([{ sequence, tokens: 1 }]);
    let out = new Float32Array();
    for (let layer = 0; layer < layers; layer++) {
      out = step.attention(layer, qs, ks, vs, { sync: true });
    }
    step.commit();
    sequence.truncate(past);
    return out;
  };
  const entries = [{ sequence, tokens: 1 }];
  const contestants: Contender[] = [
    stepContender(`${ours} step of a cache, ${dtype}`, dtype, cache, entries, layers, rows),
    {
      name: `${ours} step in place, numbers, ${dtype}`,
      dtype,
      call: async () => inPlace(),
      result: async () => inPlace(),
    },
  ];
  // What a cache of 8 bits quantises is measured by its step alone.
  const alone = dtype === 'int8' ? undefined : await pagedAlone(past, dtype, filled, rows);
  const peer = await groupQuery(context, past, dtype, filled, numbers);
  if (alone) contestants.push(alone);
  if (peer) contestants.push(peer);
  const bytes = (contestant: Contender) => {
    // A row of 8 bits has a float32 scale; onnxruntime has one for all.
    const scales = contestant === peer ? 0 : dtypeSize.float32 / model.headDim;
    const { dtype: kept } = contestant;
    return { bytes: keyBytes(shape, kept === 'int8' ? 1 + scales : dtypeSize[kept]) };
  };
  try {
    const where = { group: 'one token, a layer, against its context', x: past };
    return await race(context, where, oracle, contestants, layers, bytes);
  } finally {
    await peer?.dispose();
    alone?.dispose();
    disposeRows(rows);
    cache.dispose();
  }
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
  const total = chunk + decoding;
  const all = rowsOf(total, dtype);
  const [first, rest] = [rowsBetween(all, 0, chunk), rowsBetween(all, chunk, total)];
  const filled = await filledNumbers(dtype);
  const [q, k, v] = await Promise.all([all.q, all.k, all.v].map(numbersOf));
  const oracle = new TokensOracle(q, (token) => {
    const begin = token < chunk ? 0 : token; // of the rows of its sequence
    return {
      keys: keys + token - begin + 1,
      rowsOf: (key, head) =>
        key < keys
          ? rowAt(filled, filledToken(key), head)
          : rowAt({ k, v }, begin + key - keys, head),
    };
  });
  const contestants: Contender[] = [
    stepContender(`${ours}: in one step`, dtype, cache, [...chunked, ...decodes], 1, all),
    {
      name: `${ours}: the chunk, then the others`,
      dtype,
      async call() {
        await decode(cache, chunked, 1, first);
        await decode(cache, decodes, 1, rest);
      },
      async result() {
        const parts = [
          await decode(cache, chunked, 1, first, {}, numbersOf),
          await decode(cache, decodes, 1, rest, {}, numbersOf),
        ] as Float32Array[];
        return Float32Array.from(parts.flatMap((part) => [...part]));
      },
    },
  ];
  try {
    const group = `a chunk of ${chunk} beside ${decoding} that decode, a layer`;
    return await race(context, { group, x: keys }, oracle, contestants);
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
  const length = keys + own / 2;
  const cacheOf = (tokens: number) => cacheFor(tokens + count * own, { layers: 1, dtype });
  const grow = (cache: KvCache, all: readonly Sequence[]) => {
    fill(cache, all, length, { layers: 1, dtype });
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
  const filled = await filledNumbers(dtype);
  const [q, k, v] = await Promise.all([rows.q, rows.k, rows.v].map(numbersOf));
  const oracle = new TokensOracle(q, (token) => ({
    keys: length + 1,
    rowsOf: (key, head) =>
      key < length ? rowAt(filled, filledToken(key), head) : rowAt({ k, v }, token, head),
  }));
  const group = 'sequences on one prefix, decoding, a layer';
  const contestants = [
    stepContender(`${ours}: shared pages`, dtype, shared, together, 1, rows),
    stepContender(`${ours}: shared pages, read by each`, dtype, shared, together, 1, rows, {
      numSplits: 1,
    }),
    stepContender(`${ours}: pages of their own`, dtype, separate, apart, 1, rows),
  ];
  try {
    const where = { group: `${keys} keys: ${group}`, x: count };
    const timed = await race(context, where, oracle, contestants);
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
  // Of one key there is nothing but its value, whatever was rotated.
  const oracle = new TokensOracle(q, () => ({
    keys: 1,
    rowsOf: (_, head) => rowAt({ k, v }, 0, head),
  }));
  /** Seconds of a call, and what the last one gave. */
  type Calls = { readonly time: number; readonly out: Float32Array };
  const enqueue = async (): Promise<Calls> => {
    using step = cache.step([{ sequence, tokens: 1 }]);
    const begin = performance.now();
    const outs = Array.from({ length: count }, (_, layer) =>
      step.attention(layer, rows.q, rows.k, rows.v, options),
    );
    const time = seconds(begin) / count;
    const out = await outs[count - 1].toFloat32();
    for (const each of outs) each.dispose();
    return { time, out };
  };
  const inPlace = async (): Promise<Calls> => {
    using step = cache.step([{ sequence, tokens: 1 }]);
    let out = new Float32Array();
    const begin = performance.now();
    for (let layer = 0; layer < count; layer++) {
      out = step.attention(layer, q, k, v, { ...options, sync: true });
    }
    return { time: seconds(begin) / count, out };
  };
  const where = { group: 'a layer of one token over one key, rotated', x: 1 };
  const contestants = [
    { name: `${ours}: enqueue`, run: enqueue },
    { name: `${ours}: in place, numbers`, run: inPlace },
  ];
  const errors = await deviations(
    { ...where, oracle },
    contestants.map(({ name, run }) => ({
      name,
      dtype,
      layout: 'bshd',
      result: async () => (await run()).out,
    })),
  );
  const times = contestants.map((): number[] => []);
  for (let n = 0; n < (context.choice.quick ? 20 : 200); n++) {
    for (const [i, { run }] of contestants.entries()) times[i].push((await run()).time);
  }
  for (const each of [cos, sin]) each.dispose();
  disposeRows(rows);
  cache.dispose();
  return contestants.map(({ name }, i) => ({
    suite: 'serving',
    ...where,
    who: name,
    time: spreadOf(times[i]),
    error: errors.get(name),
  }));
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
