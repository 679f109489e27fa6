import type { SamplingParams } from '../engine/contract.js';
import { kthLargest } from './partial-sort.js';

/** Room for the candidates of one draw, for all draws of an engine. */
export class Candidates {
  readonly ids: Int32Array;
  /** Probabilities up to a factor: 1 is the likeliest token's. */
  readonly weights: Float64Array;
  count = 0;

  constructor(vocabSize: number) {
    this.ids = new Int32Array(vocabSize);
    this.weights = new Float64Array(vocabSize);
  }

  /** Tokens whose logit is at least `floor`. exp of differences from the maximum never overflows. */
  fill(logits: Float32Array, max: number, temperature: number, floor: number): void {
    this.count = 0;
    for (let id = 0; id < logits.length; id++) {
      if (!(logits[id] >= floor)) continue;
      const weight = Math.exp((logits[id] - max) / temperature);
      if (weight > 0) this.#put(id, weight);
    }
  }

  /** The smallest set of the likeliest that has `topP` of the whole (Holtzman et al. 2020). */
  keepNucleus(topP: number): void {
    const total = this.total();
    // All tokens below this weight together have less than 1 - topP of the whole: none is needed.
    const negligible = ((1 - topP) * total) / this.count;
    const order: number[] = [];
    for (let i = 0; i < this.count; i++) if (this.weights[i] >= negligible) order.push(i);
    order.sort((a, b) => this.weights[b] - this.weights[a] || a - b);
    let [kept, sum] = [0, 0];
    do sum += this.weights[order[kept++]];
    while (sum < topP * total && kept < order.length);
    order.length = kept;
    this.#keep(order.sort((a, b) => a - b));
  }

  /** Those at least `minP` times as likely as the likeliest (Nguyen et al. 2024, arXiv 2407.01082). */
  keepMinP(minP: number): void {
    const before = this.count;
    this.count = 0;
    for (let i = 0; i < before; i++) {
      if (this.weights[i] >= minP) this.#put(this.ids[i], this.weights[i]);
    }
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

  /** @param order ascending, so that nothing is overwritten before it was moved. */
  #keep(order: readonly number[]): void {
    this.count = 0;
    for (const i of order) this.#put(this.ids[i], this.weights[i]);
  }

  #put(id: number, weight: number): void {
    this.ids[this.count] = id;
    this.weights[this.count++] = weight;
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
