import { flashAttentionPaged, synchronize, type Tensor, tensor } from '../../lib/index.js';
import { dtypeSize } from '../contestants.js';
import type { Context } from '../context.js';
import { groupQueryStep, quantizedGroupQueryStep } from '../peers/onnx-graphs.js';
import { ours, type Row } from '../row.js';
import { keyBytes } from '../shape.js';
import {
  type cacheDTypes,
  cacheFor,
  disposeRows,
  fill,
  filledNumbers,
  filledToken,
  model,
  type Rows,
  rowAt,
  rowsOf,
  type TokenNumbers,
} from './filled-cache.js';
import { type Contender, numbersOf, race, stepContender } from './race.js';
import { TokensOracle } from './tokens-oracle.js';

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
export async function oneToken(
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
