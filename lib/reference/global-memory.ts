import { fail } from '../native/errors.js';
import { show } from '../native/show.js';
import { checkInteger, checkLength, checkNumbers, checkObject, checkTile } from './check.js';
import { checkProblem } from './check-problem.js';
import { flashAttention2 } from './flash-attention-2.js';
import { gather, range, scatterAdd } from './layout.js';
import { zeros } from './matrix.js';
import { type AttentionState, mergeStates } from './merge.js';
import {
  completeShape,
  type Numbers,
  type ReferenceProblem,
  type ReferenceResult,
} from './problem.js';

/** Keys and values that stand for what lies outside a query's own block. */
export interface GlobalMemory {
  /** Tokens of a block; the last one may be shorter. */
  readonly blockSize: number;
  /** Number of global keys. */
  readonly length: number;
  /** K_g: [batch, length, kvHeads, headDim] */
  readonly k: Numbers;
  /** V_g: [batch, length, kvHeads, headDimV] */
  readonly v: Numbers;
  /** Whether the queries of a block see a global key. Default: all do. */
  readonly sees?: (block: number, global: number) => boolean;
}

/** What this page understands of a problem. */
export type BlockProblem = Pick<ReferenceProblem, 'shape' | 'q' | 'k' | 'v' | 'scale' | 'causal'>;

function check({ shape }: BlockProblem, memory: GlobalMemory): void {
  checkObject('memory', memory);
  const { batch, seqlenQ, seqlenK, kvHeads, headDim, headDimV } = completeShape(shape);
  if (seqlenQ !== seqlenK) {
    fail('ERR_SHAPE', 'shape.seqlenK', `seqlenQ, ${seqlenQ},`, String(seqlenK));
  }
  const { blockSize, length, k, v, sees } = memory;
  checkTile('memory.blockSize', blockSize);
  checkInteger('memory.length', length, 0, 'ERR_SHAPE');
  const rows = batch * length * kvHeads;
  checkNumbers('memory.k', k, rows * headDim, '[batch, length, kvHeads, headDim]');
  checkNumbers('memory.v', v, rows * headDimV, '[batch, length, kvHeads, headDimV]');
  if (sees !== undefined && typeof sees !== 'function')
    fail('ERR_TYPE', 'memory.sees', 'a function', show(sees));
}

/** One head of a result, as the state of a merge. */
function stateOf(
  result: ReferenceResult,
  problem: BlockProblem,
  b: number,
  h: number,
): AttentionState {
  const { seqlenQ: N, heads, headDimV } = completeShape(problem.shape);
  const out = gather(result.out, [N, heads, headDimV], b, h, range(N));
  const at = (b * heads + h) * N;
  return { out, lse: result.lse.slice(at, at + N) };
}

/**
 * Attention in blocks with a global memory: the queries of a block see the keys of their own block,
 * and G global keys that stand for the rest (summaries of blocks, or tokens that a model learns).
 *
 *     out_i = attention of q_i over (K of its block, V of its block) and (K_g, V_g) together
 *
 * It is made of two exact attentions, one in the blocks and one over the memory, which are put
 * together by {@link mergeStates}: with B tokens a block O(N (B + G)) instead of O(N^2). The idea
 * is that of the global tokens of ETC (Ainslie et al. 2020, arXiv 2004.08483) and Longformer
 * (Beltagy et al. 2020, arXiv 2004.05150), with memory in place of tokens.
 *
 * Over the keys that it names it is exact: the softmax is one, over both parts. It equals attention
 * over all keys where the memory is the keys of the other blocks themselves. What it gives up is
 * what K_g and V_g leave out of them.
 *
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function globalMemoryAttention(blocks: BlockProblem, memory: GlobalMemory): ReferenceResult {
  checkObject('problem', blocks);
  const { shape, q, k, v, scale, causal } = blocks;
  const problem = { shape, q, k, v, scale, causal };
  checkProblem(problem);
  check(problem, memory);
  const { blockSize, sees = () => true } = memory;
  const blockOf = (i: number) => Math.floor(i / blockSize);

  const local = flashAttention2(
    { ...problem, visible: (_b, _h, i, j) => blockOf(i) === blockOf(j) },
    { blockQ: blockSize, blockK: blockSize },
  );
  const global = flashAttention2({
    ...problem,
    causal: false,
    shape: { ...shape, seqlenK: memory.length },
    k: memory.k,
    v: memory.v,
    visible: (_b, _h, i, g) => sees(blockOf(i), g),
  });

  const { batch, seqlenQ: N, heads, headDimV } = completeShape(shape);
  const out = new Float64Array(local.out.length);
  const lse = new Float64Array(local.lse.length);
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const parts = [local, global].map((part) => stateOf(part, problem, b, h));
      const merged = parts.reduce(mergeStates);
      scatterAdd(out, [N, heads, headDimV], b, h, range(N), merged.out);
      lse.set(merged.lse, (b * heads + h) * N);
    }
  }
  return { out, lse };
}

/**
 * The simplest summaries: the mean of each block's rows.
 *
 * @param x [batch, seqlen, heads, dim]
 * @returns [batch, ceil(seqlen / blockSize), heads, dim]: `k` or `v` of a {@link GlobalMemory}
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the argument
 */
export function blockMeans(
  x: Numbers,
  shape: readonly [number, number, number, number],
  blockSize: number,
): Float64Array {
  checkLength('shape', shape, [4], '[batch, seqlen, heads, dim]');
  const [batch, seqlen, heads, dim] = shape;
  checkTile('blockSize', blockSize);
  checkNumbers('x', x, batch * seqlen * heads * dim, '[batch, seqlen, heads, dim]');
  const blocks = Math.ceil(seqlen / blockSize);
  const means = new Float64Array(batch * blocks * heads * dim);
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const rows = gather(x, [seqlen, heads, dim], b, h, range(seqlen));
      const sums = zeros(blocks, dim);
      rows.forEach((row, i) => {
        const block = Math.floor(i / blockSize);
        const count = Math.min(blockSize, seqlen - block * blockSize);
        for (let c = 0; c < dim; c++) sums[block][c] += row[c] / count;
      });
      scatterAdd(means, [blocks, heads, dim], b, h, range(blocks), sums);
    }
  }
  return means;
}
