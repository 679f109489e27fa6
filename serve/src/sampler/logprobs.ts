import type { TokenEvent } from '../engine/contract.js';
import { largest } from './partial-sort.js';

/** A token with its logprob and those of the `count` likeliest, under softmax of the logits. */
export function withLogprobs(logits: Float32Array, token: number, count: number): TokenEvent {
  const total = logSumExp(logits);
  const top = count === 0 ? [] : largest(logits, Math.min(count, logits.length));
  return {
    token,
    logprob: logits[token] - total,
    top: top.map((id) => ({ token: id, logprob: logits[id] - total })),
  };
}

function logSumExp(logits: Float32Array): number {
  let max = -Infinity;
  for (let i = 0; i < logits.length; i++) if (logits[i] > max) max = logits[i];
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - max);
  return max + Math.log(sum);
}
