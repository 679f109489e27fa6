import type { SamplingParams } from '../engine/contract.js';

/**
 * What the tokens so far do to the logits of the next one. Repetition (Keskar et al. 2019, CTRL,
 * arXiv 1909.05858) counts prompt and answer; presence and frequency, OpenAI's, the answer alone.
 */
export class Penalties {
  readonly #params: SamplingParams;
  readonly #seen = new Set<number>();
  readonly #counts = new Map<number, number>();

  constructor(params: SamplingParams, prompt: Int32Array) {
    this.#params = params;
    if (params.repetitionPenalty !== 1) for (const token of prompt) this.#seen.add(token);
  }

  /** Whether {@link apply} can change anything. */
  get active(): boolean {
    const { repetitionPenalty, presencePenalty, frequencyPenalty } = this.#params;
    return repetitionPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0;
  }

  accept(token: number): void {
    if (!this.active) return;
    this.#seen.add(token);
    this.#counts.set(token, (this.#counts.get(token) ?? 0) + 1);
  }

  apply(logits: Float32Array): void {
    const { repetitionPenalty, presencePenalty, frequencyPenalty } = this.#params;
    if (repetitionPenalty !== 1) {
      for (const token of this.#seen) {
        const logit = logits[token];
        logits[token] = logit < 0 ? logit * repetitionPenalty : logit / repetitionPenalty;
      }
    }
    for (const [token, count] of this.#counts) {
      logits[token] -= presencePenalty + frequencyPenalty * count;
    }
  }
}
