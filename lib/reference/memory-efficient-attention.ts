import { checkFields, checkTile } from './check.js';
import { type Head, mapHeads, scoreTile, tileAt } from './heads.js';
import { Machine, type MachineOptions } from './machine.js';
import { addScaled, copyRows, type Matrix, scaleBy, zeros } from './matrix.js';
import type { ReferenceProblem, ReferenceResult } from './problem.js';

export interface MemoryEfficientAttentionOptions extends MachineOptions {
  /** Queries per chunk. Default 1024, as in the paper. */
  readonly queryChunkSize?: number;
  /**
   * Keys per chunk. Default ceil(sqrt(number of keys)): the number of chunks and their size are
   * then both sqrt(N).
   */
  readonly keyChunkSize?: number;
}

/**
 * One query chunk against one key chunk, per query. Nothing is divided yet: that is what makes the
 * softmax lazy.
 */
interface Summary {
  /** sum_j e^(s_j - max) v_j */
  readonly values: Matrix;
  /** sum_j e^(s_j - max) */
  readonly weights: Float64Array;
  /** max_j s_j */
  readonly max: Float64Array;
}

function summarizeChunk(
  head: Head,
  q: Matrix,
  i0: number,
  j0: number,
  j1: number,
  machine: Machine,
): Summary {
  const k = copyRows(head.k, j0, j1);
  const v = copyRows(head.v, j0, j1);
  machine.load(j0, { K: k, V: v });
  const s = scoreTile(head, q, k, i0, j0);
  const values = zeros(q.length, head.headDimV);
  const weights = new Float64Array(q.length);
  const max = Float64Array.from(s, (row) => row.reduce((a, b) => Math.max(a, b), -Infinity));
  for (let i = 0; i < q.length; i++) {
    for (let j = 0; j < k.length; j++) {
      if (s[i][j] === -Infinity) continue; // a masked value is left out, not multiplied by 0
      const weight = Math.exp(s[i][j] - max[i]);
      weights[i] += weight;
      addScaled(values[i], weight * head.keep(i0 + i, j0 + j), v[j]);
    }
  }
  machine.compute(tileAt(head, i0, q.length, j0, k.length), { S: s, max, weights, values });
  return { values, weights, max };
}

/**
 * Attention with the softmax's division put off to the very end ("lazy softmax"):
 *
 *     v* = sum_j e^(s_j) v_j      s* = sum_j e^(s_j)      out = v* / s*
 *
 * Both sums can be gathered in any order, so keys can come in chunks and no chunk needs to be kept:
 * O(sqrt N) memory with sqrt(N) chunks. So that e^(s_j) does not overflow, each chunk is summed
 * relative to its own maximum, and the summaries are brought to the common maximum when they are
 * added up (sections 3 and 4).
 *
 * Rabe and Staats, "Self-attention Does Not Need O(n^2) Memory", 2021, arXiv 2112.05682: sections 2
 * and 3, and figure 1 for the chunks.
 *
 * @throws FlashAttentionError ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function memoryEfficientAttention(
  problem: ReferenceProblem,
  options: MemoryEfficientAttentionOptions = {},
): ReferenceResult {
  checkFields('options', options, ['queryChunkSize', 'keyChunkSize', 'io', 'trace']);
  const { queryChunkSize = 1024 } = options;
  checkTile('queryChunkSize', queryChunkSize);
  if (options.keyChunkSize !== undefined) checkTile('keyChunkSize', options.keyChunkSize);
  const machine = new Machine(options);

  return mapHeads(problem, (head) => {
    machine.head(head.place);
    const N = head.q.length;
    const Nk = head.k.length;
    const keyChunkSize = options.keyChunkSize ?? Math.ceil(Math.sqrt(Nk));
    const out = zeros(N, head.headDimV);
    const lse = new Float64Array(N);

    for (let i0 = 0; i0 < N; i0 += queryChunkSize) {
      const q = copyRows(head.q, i0, i0 + queryChunkSize);
      machine.load(i0, { Q: q });

      // A sink is a chunk of its own: one key with the value 0.
      const sink: Summary = {
        values: zeros(q.length, head.headDimV),
        weights: new Float64Array(q.length).fill(head.sink === -Infinity ? 0 : 1),
        max: new Float64Array(q.length).fill(head.sink),
      };
      const summaries = [sink];
      for (let j0 = 0; j0 < Nk; j0 += keyChunkSize) {
        summaries.push(summarizeChunk(head, q, i0, j0, j0 + keyChunkSize, machine));
      }

      for (let i = 0; i < q.length; i++) {
        const globalMax = summaries.reduce((max, chunk) => Math.max(max, chunk.max[i]), -Infinity);
        let weights = 0;
        for (const chunk of summaries) {
          if (chunk.max[i] === -Infinity) continue; // nothing seen in this chunk
          const correction = Math.exp(chunk.max[i] - globalMax);
          weights += correction * chunk.weights[i];
          addScaled(out[i0 + i], correction, chunk.values[i]);
        }
        if (weights > 0) scaleBy(out[i0 + i], 1 / weights);
        lse[i0 + i] = globalMax + Math.log(weights);
      }
      const i1 = i0 + q.length;
      const result = { O: out.slice(i0, i1), lse: lse.slice(i0, i1) };
      machine.compute(tileAt(head, i0, queryChunkSize, Nk, 0), result);
      machine.store(i0, result);
      machine.free();
    }
    return { out, lse };
  });
}
