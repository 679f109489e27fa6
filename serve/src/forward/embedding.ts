import type { ForwardEmbedding, ForwardSequence } from '../engine/contract.js';

/** Sums hidden states, piece by piece. */
export class Embedding implements ForwardEmbedding {
  readonly #sequence: ForwardSequence;
  readonly #states: (tokens: Int32Array) => Promise<Float32Array>;
  #sums = new Float64Array();
  #tokens = 0;

  /** @param states hidden states `[tokens, hiddenSize]` of the next tokens of the sequence. */
  constructor(sequence: ForwardSequence, states: (tokens: Int32Array) => Promise<Float32Array>) {
    this.#sequence = sequence;
    this.#states = states;
  }

  async advance(tokens: Int32Array): Promise<void> {
    const states = await this.#states(tokens);
    const width = states.length / tokens.length;
    if (this.#tokens === 0) this.#sums = new Float64Array(width);
    states.forEach((value, i) => {
      this.#sums[i % width] += value;
    });
    this.#tokens += tokens.length;
  }

  mean(): Float32Array {
    return Float32Array.from(this.#sums, (sum) => sum / this.#tokens);
  }

  dispose(): void {
    this.#sequence.dispose();
  }
}
