import { fail } from '../native/errors.js';
import { showShape } from '../native/show.js';
import { checkFields, checkLength, checkList, checkNumbers, checkObject } from './check.js';
import type { Numbers, ReferenceOptions, ReferenceResult, ReferenceShape } from './problem.js';
import { type StandardAttentionOptions, standardAttention } from './standard-attention.js';
import { treeMask } from './tree-mask.js';

/** The sizes of one problem over pages. */
export interface PagedShape
  extends Pick<ReferenceShape, 'heads' | 'kvHeads' | 'headDim' | 'headDimV'> {
  /** Keys of a page. */
  readonly pageSize: number;
}

/** Sequences of any lengths over pages of keys and values. */
export interface PagedProblem
  extends Pick<
    ReferenceOptions,
    'scale' | 'causal' | 'window' | 'sinkTokens' | 'softcap' | 'alibiSlopes' | 'sinks'
  > {
  readonly shape: PagedShape;
  /** [total, heads, headDim] */
  readonly q: Numbers;
  /** [pages, pageSize, kvHeads, headDim] */
  readonly kPages: Numbers;
  /** [pages, pageSize, kvHeads, headDimV] */
  readonly vPages: Numbers;
  /** [batch + 1], from 0: rows `cuSeqlensQ[b]` to `cuSeqlensQ[b + 1]` of q are sequence b. */
  readonly cuSeqlensQ: ArrayLike<number>;
  /** Of each sequence: the page of its keys 0 to pageSize - 1, of the next ones, and so on. */
  readonly pageTable: readonly ArrayLike<number>[];
  /** `[batch]`: keys of each sequence. */
  readonly seqlensK: ArrayLike<number>;
  /**
   * Of each sequence with one: the parents of its queries, which are a tree of draft tokens, and
   * the last keys are theirs. See {@link treeMask}.
   */
  readonly trees?: readonly (ArrayLike<number> | undefined)[];
}

/**
 * Attention over keys and values in pages: key j of sequence b is row `j mod pageSize` of page
 * `pageTable[b][floor(j / pageSize)]`. Every sequence has its own number of queries and keys, its
 * last query beside its last key. Kwon et al., "Efficient Memory Management for Large Language
 * Model Serving with PagedAttention", 2023, arXiv 2309.06180.
 *
 * Written as what it means: the keys of each sequence are gathered, and attended by themselves.
 *
 * @returns out [total, heads, headDimV], lse [heads, total]
 *
 * @throws FlashAttentionError ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function pagedAttention(
  problem: PagedProblem,
  options: StandardAttentionOptions = {},
): ReferenceResult {
  checkFields('options', options, ['precision', 'io', 'trace']);
  const total = checkPaged(problem);
  const { shape, q, kPages, vPages, cuSeqlensQ, pageTable, seqlensK, trees } = problem;
  const { heads, kvHeads = heads, headDim, headDimV = headDim, pageSize } = shape;
  const batch = cuSeqlensQ.length - 1;
  const out = new Float64Array(total * heads * headDimV);
  const lse = new Float64Array(heads * total).fill(-Infinity);
  for (let b = 0; b < batch; b++) {
    const [begin, end] = [cuSeqlensQ[b], cuSeqlensQ[b + 1]];
    const gather = (pages: Numbers, dim: number) => {
      const row = kvHeads * dim;
      const result = new Float64Array(seqlensK[b] * row);
      for (let j = 0; j < seqlensK[b]; j++) {
        const from = (pageTable[b][Math.floor(j / pageSize)] * pageSize + (j % pageSize)) * row;
        result.set(pages.subarray(from, from + row), j * row);
      }
      return result;
    };
    const tree = trees?.[b];
    const one = standardAttention(
      {
        shape: {
          ...shape,
          batch: 1,
          seqlenQ: end - begin,
          seqlenK: seqlensK[b],
          kvHeads,
          headDimV,
        },
        q: q.slice(begin * heads * headDim, end * heads * headDim),
        k: gather(kPages, headDim),
        v: gather(vPages, headDimV),
        ...(tree ? treeOptions(problem, b, tree) : optionsOf(problem, b)),
      },
      options,
    );
    out.set(one.out, begin * heads * headDimV);
    for (let h = 0; h < heads; h++) {
      lse.set(one.lse.subarray(h * (end - begin), (h + 1) * (end - begin)), h * total + begin);
    }
  }
  return { out, lse };
}

/** Those of one sequence. */
function optionsOf(problem: PagedProblem, b: number): ReferenceOptions {
  const { scale, causal, window, sinkTokens, softcap, sinks } = problem;
  const alibiSlopes = slopesOf(problem, b);
  return { scale, causal, window, sinkTokens, softcap, sinks, alibiSlopes };
}

function slopesOf({ alibiSlopes, shape: { heads } }: PagedProblem, b: number) {
  const own = alibiSlopes && (alibiSlopes.length === heads ? 0 : b * heads);
  return own === undefined ? undefined : Array.from(alibiSlopes ?? []).slice(own, own + heads);
}

/**
 * Windows and ALiBi count positions, in which a tree's keys, and queries, stand at their depths:
 * said by a predicate and by a mask that is added.
 */
function treeOptions(
  problem: PagedProblem,
  b: number,
  parents: ArrayLike<number>,
): ReferenceOptions {
  const { scale, causal, window = [Infinity, Infinity], sinkTokens = 0, softcap, sinks } = problem;
  const { depths, sees } = treeMask(parents);
  const keys = problem.seqlensK[b];
  const committed = keys - parents.length;
  const [left, right] = [window[0], causal ? Math.min(window[1], 0) : window[1]];
  const position = (j: number) => (j < committed ? j : committed + depths[j - committed]);
  const visible = (_b: number, _h: number, i: number, j: number) => {
    const ahead = position(j) - position(committed + i);
    const near = (ahead >= -left || j < sinkTokens) && ahead <= right;
    return near && (j < committed || sees[i][j - committed]);
  };
  const slopes = slopesOf(problem, b);
  const distances = (slope: number) =>
    Array.from(parents, (_, i) =>
      Array.from(
        { length: keys },
        (_, j) => -slope * Math.abs(position(j) - position(committed + i)),
      ),
    );
  const mask = slopes && {
    data: Float64Array.from(slopes.flatMap(distances).flat()),
    shape: [slopes.length, parents.length, keys],
  };
  return { scale, softcap, sinks, visible, mask };
}

/** The number of queries, once everything is as it must be. */
function checkPaged(problem: PagedProblem): number {
  checkObject('problem', problem);
  checkObject('shape', problem.shape);
  checkList('q', problem.q);
  checkList('cuSeqlensQ', problem.cuSeqlensQ);
  const { shape, q, kPages, vPages, cuSeqlensQ, pageTable, seqlensK, trees } = problem;
  const { heads, kvHeads = heads, headDim, headDimV = headDim, pageSize } = shape;
  const batch = cuSeqlensQ.length - 1;
  const total = Math.floor(q.length / (heads * headDim));
  checkNumbers('q', q, total * heads * headDim, '[total, heads, headDim]');
  const pages = Math.floor(kPages.length / (pageSize * kvHeads * headDim));
  const check = (argument: string, data: Numbers, dim: number) =>
    checkNumbers(
      argument,
      data,
      pages * pageSize * kvHeads * dim,
      showShape([pages, pageSize, kvHeads, dim]),
    );
  check('kPages', kPages, headDim);
  check('vPages', vPages, headDimV);
  checkLength('pageTable', pageTable, [batch], '[batch]');
  checkLength('seqlensK', seqlensK, [batch], '[batch]');
  for (let b = 0; b < batch; b++) {
    const rows = cuSeqlensQ[b + 1] - cuSeqlensQ[b];
    if (cuSeqlensQ[0] !== 0 || rows < 0 || cuSeqlensQ[b + 1] > total) {
      const expected = `ascending from 0 to at most ${total}`;
      fail('ERR_SHAPE', 'cuSeqlensQ', expected, showShape(Array.from(cuSeqlensQ)));
    }
    for (let i = 0; i < Math.ceil(seqlensK[b] / pageSize); i++) {
      const page = pageTable[b][i];
      if (Number.isInteger(page) && page >= 0 && page < pages) continue;
      fail('ERR_SHAPE', `pageTable[${b}][${i}]`, `a page, 0 to ${pages - 1},`, `${page}`);
    }
    const tree = trees?.[b];
    if (tree && (tree.length !== rows || rows > seqlensK[b])) {
      fail('ERR_SHAPE', `trees[${b}]`, `the parents of ${rows} queries`, `${tree.length}`);
    }
  }
  return total;
}
