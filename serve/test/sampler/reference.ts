// What the sampler must do, in float64, written to be read: everything is sorted, nothing is fast.
// Logits themselves are float32, those that penalties changed as well.
import type { SamplingParams } from '../../src/engine/contract.js';

export interface Given {
  readonly logits: ArrayLike<number>;
  readonly sampling: SamplingParams;
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
  readonly forbidden?: readonly number[];
  readonly allowed?: ReadonlySet<number>;
}

/** Probability of each token, in the order of ids. */
export function distribution(given: Given): number[] {
  const { temperature, topK, topP, minP } = given.sampling;
  const logits = Array.from(adjusted(given));
  const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a] || a - b);
  if (temperature === 0) return logits.map((_, id) => (id === order[0] ? 1 : 0));

  let kept = order;
  if (topK > 0 && topK < kept.length) {
    const least = logits[kept[topK - 1]];
    kept = kept.filter((id) => logits[id] >= least);
  }
  let probabilities = softmax(
    kept.map((id) => logits[id]),
    temperature,
  );
  if (topP < 1) {
    let sum = 0;
    const enough = probabilities.findIndex((p) => {
      sum += p;
      return sum >= topP;
    });
    if (enough >= 0) kept = kept.slice(0, enough + 1);
    probabilities = probabilities.slice(0, kept.length);
  }
  const [greatest] = probabilities;
  const likely = kept.filter((_, i) => probabilities[i] >= minP * greatest);
  const final = softmax(
    likely.map((id) => logits[id]),
    temperature,
  );
  const result: number[] = logits.map(() => 0);
  likely.forEach((id, i) => {
    result[id] = final[i];
  });
  return result;
}

function adjusted({
  logits,
  sampling,
  prompt,
  answer,
  forbidden = [],
  allowed,
}: Given): Float32Array {
  const result = Float32Array.from(logits);
  for (const id of new Set([...prompt, ...answer])) {
    const logit = result[id];
    const penalty = sampling.repetitionPenalty;
    result[id] = logit < 0 ? logit * penalty : logit / penalty;
  }
  for (const id of new Set(answer)) {
    const count = answer.filter((other) => other === id).length;
    result[id] -= sampling.presencePenalty + sampling.frequencyPenalty * count;
  }
  for (const [id, bias] of sampling.logitBias) result[id] += bias;
  for (const id of forbidden) result[id] = -Infinity;
  return result.map((logit, id) => (allowed && !allowed.has(id) ? -Infinity : logit));
}

function softmax(logits: readonly number[], temperature: number): number[] {
  const max = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp((logit - max) / temperature));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / sum);
}

/** The token at u of the cumulative distribution, and how far u is from where the next begins. */
export function tokenAt(probabilities: readonly number[], u: number) {
  let sum = 0;
  let distance = Infinity;
  let token = -1;
  for (let id = 0; id < probabilities.length; id++) {
    const before = sum;
    sum += probabilities[id];
    distance = Math.min(distance, Math.abs(sum - u));
    if (u >= before && probabilities[id] > 0) token = id;
  }
  return { token, distance };
}
