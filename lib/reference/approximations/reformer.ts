import { fail } from '../../native/errors.js';
import { show } from '../../native/show.js';
import { checkFields } from '../check.js';
import { type Head, headsOf } from '../heads.js';
import { range, scatterAdd } from '../layout.js';
import { addScaled, dot, type Matrix, zeros } from '../matrix.js';
import { type AttentionState, mergeStates } from '../merge.js';
import { completeShape } from '../problem.js';
import { safeSoftmax } from '../safe-softmax.js';
import {
  type ApproximationProblem,
  checkCount,
  checkPlain,
  checkSeed,
  checkSelf,
} from './problem.js';
import { normalMatrix, normalized } from './random.js';

export interface ReformerOptions {
  /** Buckets that a round of hashing has: 1, or an even number. */
  readonly buckets: number;
  /** Rounds, each with hashes of its own. Default 1. */
  readonly rounds?: number;
  /**
   * Tokens of a chunk, of the tokens sorted by bucket. A token looks into its own chunk and the one
   * before. Default 2 ceil(seqlen / buckets).
   */
  readonly chunkSize?: number;
  /** Selects the random directions. Default 0n. */
  readonly seed?: bigint;
}

/**
 * The bucket of each row: arg max over (x R, -x R), which rows in like directions share ("angular"
 * hashing, section 2 of the paper).
 */
function hash(x: Matrix, buckets: number, seed: bigint, round: number): number[] {
  if (buckets === 1) return x.map(() => 0);
  const R = normalMatrix(buckets / 2, x[0]?.length ?? 1, seed, round);
  return x.map((row) => {
    const projections = R.map((direction) => dot(row, direction));
    const both = [...projections, ...projections.map((p) => -p)];
    return both.indexOf(both.reduce((a, b) => Math.max(a, b)));
  });
}

/** For each token, which ones a round lets it look at: same bucket, this chunk or the last. */
function candidates(bucket: readonly number[], chunkSize: number): number[][] {
  const sorted = range(bucket.length).sort((a, b) => bucket[a] - bucket[b] || a - b);
  const found: number[][] = bucket.map(() => []);
  sorted.forEach((token, place) => {
    const chunk = Math.floor(place / chunkSize);
    const near = sorted.slice(Math.max(0, chunk - 1) * chunkSize, (chunk + 1) * chunkSize);
    found[token] = near.filter((other) => bucket[other] === bucket[token]);
  });
  return found;
}

/** Attention of one round. A pair that several rounds have counts in each for its share. */
function attendRound(
  head: Head,
  keys: Matrix,
  looks: readonly number[][],
  times: (i: number, j: number) => number,
): AttentionState {
  const out = zeros(head.q.length, head.headDimV);
  const lse = new Float64Array(head.q.length);
  looks.forEach((all, i) => {
    const seen = all.filter((j) => head.sees(i, j));
    const scores = seen.map((j) => {
      return head.score(dot(head.q[i], keys[j]), i, j) - Math.log(times(i, j));
    });
    const softmax = safeSoftmax(scores);
    lse[i] = softmax.lse;
    seen.forEach((j, n) => {
      addScaled(out[i], softmax.p[n], head.v[j]);
    });
  });
  return { out, lse };
}

/**
 * APPROXIMATE. Attention among tokens that a hash puts into one bucket, in place of all pairs: a
 * softmax is ruled by its largest scores, and those belong to keys in the query's direction.
 *
 * Queries and keys are one ("shared QK"): the keys are q, made unit vectors, and k is not looked
 * at. A token does not look at itself unless there is nothing else. Each round of hashing sorts the
 * tokens by bucket and cuts them into chunks, and a token looks at those of its bucket in its chunk
 * and the one before; rounds are put together by their lse, a pair of several rounds counted once.
 *
 * Kitaev, Kaiser and Levskaya, "Reformer: The Efficient Transformer", 2020, arXiv 2001.04451,
 * section 2 and appendix A. O(N log N) with chunks of constant size. With one bucket, in chunks of
 * the default size, it is exact attention with shared QK.
 *
 * What it gives up: pairs that no round puts together, however great their score; queries and keys
 * that differ; and, for what is looked at depends on hashes of everything, a cost that one can rely
 * on for any input.
 *
 * @returns [batch, seqlenQ, heads, headDimV]; 0 where a token sees nothing
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function reformer(problem: ApproximationProblem, options: ReformerOptions): Float64Array {
  checkPlain(problem);
  checkFields('options', options, ['buckets', 'rounds', 'chunkSize', 'seed']);
  checkSelf(problem);
  const { batch, seqlenQ: N, heads, headDimV } = completeShape(problem.shape);
  const { buckets, rounds = 1, seed = 0n } = options;
  checkCount('buckets', buckets);
  if (buckets > 1 && buckets % 2 !== 0) {
    fail('ERR_OPTION', 'buckets', '1 or an even number', show(buckets));
  }
  checkCount('rounds', rounds);
  checkSeed(seed);
  const { chunkSize = Math.max(1, 2 * Math.ceil(N / buckets)) } = options;
  checkCount('chunkSize', chunkSize);

  const result = new Float64Array(batch * N * heads * headDimV);
  for (const head of headsOf(problem)) {
    const keys = head.q.map(normalized);
    const looks = range(rounds).map((round) =>
      candidates(hash(head.q, buckets, seed, round), chunkSize),
    );
    const sets = looks.map((tokens) => tokens.map((all) => new Set(all)));
    const times = (i: number, j: number) => sets.filter((tokens) => tokens[i].has(j)).length;
    const alone = (i: number) =>
      looks.every((tokens) => tokens[i].every((j) => j === i || !head.sees(i, j)));
    const states = looks.map((tokens) => {
      // A token's own key, always the most alike, is for tokens that see no other in any round.
      const wanted = tokens.map((all, i) => (alone(i) ? all : all.filter((j) => j !== i)));
      return attendRound(head, keys, wanted, times);
    });
    const { out } = states.reduce(mergeStates);
    const { place } = head;
    scatterAdd(result, [N, heads, headDimV], place.batch, place.head, place.rows, out);
  }
  return result;
}
