import type { SamplingParams } from '../engine/contract.js';
import { kthLargest } from './partial-sort.js';

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);
/** Exponent and six bits of the fraction. */
const bucketOf = (weight: number) => {
  float[0] = weight;
  return bits[0] >>> 17;
};
/** Weights are at most 1. */
const buckets = bucketOf(1) + 1;

/** Room for the candidates of one draw, for all draws of an engine. */
export class Candidates {
  readonly ids: Int32Array;
  /** Probabilities up to a factor: 1 is the likeliest token's. */
  readonly weights: Float64Array;
  count = 0;
  readonly #masses = new Float64Array(buckets);

  constructor(vocabSize: number) {
    this.ids = new Int32Array(vocabSize);
    this.weights = new Float64Array(vocabSize);
  }

  /** Tokens whose logit is at least `floor`. exp of differences to the maximum is at most 1. */
  fill(logits: Float32Array, max: number, temperature: number, floor: number): void {
    const { ids, weights } = this;
    let count = 0;
    for (let id = 0; id < logits.length; id++) {
      if (logits[id] < floor) continue;
      const weight = Math.exp((logits[id] - max) / temperature);
      if (weight === 0) continue;
      ids[count] = id;
      weights[count++] = weight;
    }
    this.count = count;
  }

  /**
   * The smallest set of the likeliest that has `topP` of the whole (Holtzman et al. 2020). Weights
   * are counted by their leading bits, and only those where topP is reached are sorted.
   */
  keepNucleus(topP: number): void {
    const enough = topP * this.#weigh();
    let bucket = buckets - 1;
    let sum = this.#masses[bucket];
    while (bucket > 0 && (sum < enough || sum === 0)) sum += this.#masses[--bucket];
    sum -= this.#masses[bucket];

    const border: number[] = [];
    for (let i = 0; i < this.count; i++) if (bucketOf(this.weights[i]) === bucket) border.push(i);
    border.sort((a, b) => this.weights[b] - this.weights[a] || a - b);
    const last = border.find((i) => {
      sum += this.weights[i];
      return sum >= enough;
    });
    const least = last ?? border[border.length - 1];
    const leastWeight = this.weights[least];
    this.#keep((weight, i) => weight > leastWeight || (weight === leastWeight && i <= least));
  }

  /** The mass of each bucket, and of all. */
  #weigh(): number {
    this.#masses.fill(0);
    for (let i = 0; i < this.count; i++) {
      this.#masses[bucketOf(this.weights[i])] += this.weights[i];
    }
    return this.total();
  }

  /** Those at least `minP` times as likely as the likeliest (Nguyen et al., arXiv 2407.01082). */
  keepMinP(minP: number): void {
    this.#keep((weight) => weight >= minP);
  }

  total(): number {
    let sum = 0;
    for (let i = 0; i < this.count; i++) sum += this.weights[i];
    return sum;
  }

  /** Inverts the cumulative distribution, in the order of ids. */
  at(u: number): number {
    let rest = u * this.total();
    for (let i = 0; i < this.count - 1; i++) {
      rest -= this.weights[i];
      if (rest < 0) return this.ids[i];
    }
    return this.ids[this.count - 1];
  }

  #keep(isKept: (weight: number, i: number) => boolean): void {
    const { ids, weights } = this;
    let count = 0;
    for (let i = 0; i < this.count; i++) {
      if (!isKept(weights[i], i)) continue;
      ids[count] = ids[i];
      weights[count++] = weights[i];
    }
    this.count = count;
  }
}

/**
 * Draws a token: temperature, top_k, top_p, min_p, in this order, as Hugging Face's generate does.
 * top_k keeps all that are as likely as the k-th. Temperature 0 takes the likeliest token, of
 * several the lowest id.
 *
 * @param uniform asked for a number in [0, 1) when chance decides.
 * @throws Error when the logits have NaN or +Infinity, or allow no token.
 */
export function choose(
  logits: Float32Array,
  params: SamplingParams,
  uniform: () => number,
  candidates: Candidates,
): number {
  const best = likeliest(logits);
  if (params.temperature === 0) return best;
  const { topK, topP, minP, temperature } = params;
  const limited = topK > 0 && topK < logits.length;
  candidates.fill(
    logits,
    logits[best],
    temperature,
    limited ? kthLargest(logits, topK) : -Infinity,
  );
  if (topP < 1) candidates.keepNucleus(topP);
  if (minP > 0) candidates.keepMinP(minP);
  return candidates.at(uniform());
}

/** -Infinity is a token that can't come. */
function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id];
    if (!(logit < Infinity)) throw new Error(`The model's logit of token ${id} is ${logit}.`);
    if (logit > logits[best]) best = id;
  }
  if (logits[best] === -Infinity) throw new Error('No token is allowed to come next.');
  return best;
}
