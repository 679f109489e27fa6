import type { GenerationRequest, TokenEvent } from '../engine/contract.js';
import { Candidates, choose } from './choose.js';
import { withLogprobs } from './logprobs.js';
import { Penalties } from './penalties.js';
import { uniform } from './random.js';

/** Memory of the size of the vocabulary, which the samplers of an engine use in turn. */
export class SamplerMemory {
  readonly logits: Float32Array;
  readonly candidates: Candidates;

  constructor(vocabSize: number) {
    this.logits = new Float32Array(vocabSize);
    this.candidates = new Candidates(vocabSize);
  }
}

/** What may come next. */
export interface Allowed {
  /** Tokens that can't. */
  readonly forbidden: readonly number[];
  /** Of a grammar: token t can where bit t % 32 of word t >> 5 is set. */
  readonly mask?: Int32Array;
}

/**
 * Draws the tokens of one answer. What it draws depends on the logits, the request and the tokens
 * so far, on nothing else.
 *
 * Order: penalties, logit_bias, what is forbidden, grammar, temperature, top_k, top_p, min_p.
 */
export class Sampler {
  readonly #request: GenerationRequest;
  readonly #seed: number;
  readonly #memory: SamplerMemory;
  readonly #penalties: Penalties;
  #drawn = 0;

  constructor(request: GenerationRequest, seed: number, memory: SamplerMemory) {
    this.#request = request;
    this.#seed = seed;
    this.#memory = memory;
    this.#penalties = new Penalties(request.sampling, request.prompt);
  }

  /**
   * The next token, which is part of the answer from now on.
   *
   * @param logits float32 [vocabSize], not changed.
   * @throws Error when they have NaN or +Infinity, or allow no token.
   */
  next(logits: Float32Array, allowed: Allowed): TokenEvent {
    const { sampling, topLogprobs } = this.#request;
    const random = () => uniform(this.#seed, this.#drawn);
    const adjusted = this.#adjusted(logits, allowed);
    const token = choose(adjusted, sampling, random, this.#memory.candidates);
    this.accept(token);
    return topLogprobs === undefined ? { token } : withLogprobs(logits, token, topLogprobs);
  }

  /** A token is part of the answer as if it had been drawn here. */
  accept(token: number): void {
    this.#drawn++;
    this.#penalties.accept(token);
  }

  #adjusted(logits: Float32Array, { forbidden, mask }: Allowed): Float32Array {
    const { logitBias } = this.#request.sampling;
    const { active } = this.#penalties;
    if (!active && logitBias.size === 0 && forbidden.length === 0 && !mask) return logits;
    const copy = this.#memory.logits;
    copy.set(logits);
    if (active) this.#penalties.apply(copy);
    for (const [token, bias] of logitBias) copy[token] += bias;
    for (const token of forbidden) copy[token] = -Infinity;
    if (mask) applyMask(copy, mask);
    return copy;
  }
}

function applyMask(logits: Float32Array, mask: Int32Array): void {
  for (let word = 0; word < mask.length; word++) {
    if (mask[word] === -1) continue;
    const end = Math.min(32 * word + 32, logits.length);
    for (let id = 32 * word; id < end; id++) {
      if ((mask[word] & (1 << id)) === 0) logits[id] = -Infinity;
    }
  }
}
