import { checkFields } from '../check.js';
import { addScaled, dot, type Matrix, zeros } from '../matrix.js';
import { safeSoftmax } from '../safe-softmax.js';
import {
  type ApproximationProblem,
  checkCount,
  checkPlain,
  checkSeed,
  mapOutputs,
} from './problem.js';
import { normalized, uniforms } from './random.js';

export interface RoutingOptions {
  /** Number of clusters; about sqrt(N) makes the cost least. */
  readonly clusters: number;
  /** Rounds of k-means. Default 10. */
  readonly iterations?: number;
  /** Selects the first centroids. Default 0n. */
  readonly seed?: bigint;
}

/** The mean taken away, and of length 1: the paper's layer norm, but for a constant. */
function centered(row: Float64Array): Float64Array {
  const mean = row.reduce((a, b) => a + b, 0) / row.length;
  return normalized(row.map((x) => x - mean));
}

/** The centroid that is most alike, by inner product. */
function nearest(row: Float64Array, centroids: Matrix): number {
  const alike = centroids.map((mu) => dot(row, mu));
  return alike.indexOf(alike.reduce((a, b) => Math.max(a, b)));
}

/** The first centroids: points, each likelier the further from those before it (k-means++). */
function firstCentroids(points: Matrix, clusters: number, seed: bigint): Matrix {
  const chosen: Matrix = [];
  for (const draw of uniforms(clusters, seed)) {
    const distances = points.map((point) => {
      const alike = chosen.reduce((most, mu) => Math.max(most, dot(point, mu)), -1);
      return chosen.length === 0 ? 1 : Math.max(0, 1 - alike);
    });
    let left = draw * distances.reduce((a, b) => a + b, 0);
    const at = distances.findIndex((distance) => {
      left -= distance;
      return left < 0;
    });
    chosen.push(points[Math.max(at, 0)]);
  }
  return chosen;
}

/** Spherical k-means over unit vectors; an empty cluster keeps its centroid. */
function kMeans(points: Matrix, first: Matrix, iterations: number): Matrix {
  let centroids = first;
  for (let round = 0; round < iterations; round++) {
    const sums = zeros(centroids.length, centroids[0].length);
    const counts = new Uint32Array(centroids.length);
    for (const point of points) {
      const cluster = nearest(point, centroids);
      counts[cluster]++;
      addScaled(sums[cluster], 1, point);
    }
    centroids = centroids.map((mu, c) => (counts[c] > 0 ? normalized(sums[c]) : mu));
  }
  return centroids;
}

/**
 * APPROXIMATE. Attention within clusters: queries and keys are put to the nearest of some centroids
 * that they share, and a query looks at the keys of its own cluster. With mu the centroids,
 *
 *     S_i = {j : mu(k_j) = mu(q_i)}        out_i = sum over S_i of softmax(scale q_i . k_j)_j v_j
 *
 * Section 4.1 of Roy, Saffar, Vaswani and Grangier, "Efficient Content-Based Sparse Attention with
 * Routing Transformers", 2020, arXiv 2003.05997. O(N^1.5 d) with sqrt(N) clusters. Centroids are
 * those of k-means over the queries and keys of each head, begun as k-means++ does (Arthur and
 * Vassilvitskii 2007); in the paper they are a moving average over the batches of a training.
 * There, clusters also take their N / k nearest tokens each, so that all are of one size and a
 * token may be in several or in none; here each is in one. With one cluster it is exact.
 *
 * What it gives up: all pairs of different clusters, near the border between them too; a query
 * whose cluster has no key that it may see gets nothing. And clusters of a causal sequence that are
 * made from all of it know its future.
 *
 * @returns [batch, seqlenQ, heads, headDimV]; 0 where a query sees nothing
 * @throws FlashAttentionError ERR_TYPE, ERR_SHAPE, ERR_DTYPE or ERR_OPTION, naming the field
 */
export function routingTransformer(
  problem: ApproximationProblem,
  options: RoutingOptions,
): Float64Array {
  checkPlain(problem);
  checkFields('options', options, ['clusters', 'iterations', 'seed']);
  const { clusters, iterations = 10, seed = 0n } = options;
  checkCount('clusters', clusters);
  checkCount('iterations', iterations);
  checkSeed(seed);

  return mapOutputs(problem, (head) => {
    const queries = head.q.map(centered);
    const keys = head.k.map(centered);
    const points = [...queries, ...keys];
    if (points.length === 0) return [];
    const centroids = kMeans(points, firstCentroids(points, clusters, seed), iterations);
    const members: number[][] = centroids.map(() => []);
    keys.forEach((key, j) => {
      members[nearest(key, centroids)].push(j);
    });

    const out = zeros(head.q.length, head.headDimV);
    queries.forEach((query, i) => {
      const seen = members[nearest(query, centroids)].filter((j) => head.sees(i, j));
      const { p } = safeSoftmax(seen.map((j) => head.score(dot(head.q[i], head.k[j]), i, j)));
      seen.forEach((j, n) => {
        addScaled(out[i], p[n], head.v[j]);
      });
    });
    return out;
  });
}
