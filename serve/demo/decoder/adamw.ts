import type { Parameter } from './numbers.js';

/** How {@link AdamW} steps. */
export interface AdamWOptions {
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  /** Of matrices; weights of norms do not decay. */
  readonly weightDecay: number;
  /** Gradients are scaled down to this norm, all of them together. */
  readonly maxNorm: number;
}

/** Adam with decoupled weight decay (Loshchilov and Hutter 2019). */
export class AdamW {
  readonly #options: AdamWOptions;
  readonly #moments: readonly { parameter: Parameter; first: Float32Array; second: Float32Array }[];
  #steps = 0;

  constructor(parameters: readonly Parameter[], options: Partial<AdamWOptions> = {}) {
    this.#options = {
      ...{ betas: [0.9, 0.98], epsilon: 1e-8, weightDecay: 0.05, maxNorm: 1 },
      ...options,
    };
    this.#moments = parameters.map((parameter) => ({
      parameter,
      first: new Float32Array(parameter.values.length),
      second: new Float32Array(parameter.values.length),
    }));
  }

  /** One step down the gradients, which are zeros afterwards. */
  step(learningRate: number): void {
    const { betas, epsilon, weightDecay, maxNorm } = this.#options;
    const [beta1, beta2] = betas;
    this.#steps++;
    const [bias1, bias2] = betas.map((beta) => 1 - beta ** this.#steps);
    const scale = Math.min(1, maxNorm / this.#norm());
    for (const { parameter, first, second } of this.#moments) {
      const { values, gradient, dims } = parameter;
      const decay = dims.length > 1 ? 1 - learningRate * weightDecay : 1;
      for (let i = 0; i < values.length; i++) {
        const g = gradient[i] * scale;
        first[i] = beta1 * first[i] + (1 - beta1) * g;
        second[i] = beta2 * second[i] + (1 - beta2) * g * g;
        const direction = first[i] / bias1 / (Math.sqrt(second[i] / bias2) + epsilon);
        values[i] = values[i] * decay - learningRate * direction;
      }
      gradient.fill(0);
    }
  }

  #norm(): number {
    let squares = 0;
    for (const { parameter } of this.#moments) {
      for (const g of parameter.gradient) squares += g * g;
    }
    return Math.sqrt(squares);
  }
}
