import type { DecoderShape } from './decoder/decoder.js';
import type { TrainingOptions } from './train.js';

/** The demo's model. */
export const demoShape: DecoderShape = {
  layers: 4,
  hidden: 96,
  heads: 3,
  kvHeads: 1,
  headDim: 32,
  mlp: 256,
  vocab: 1024,
  context: 256,
  theta: 10_000,
};

/** How its weights in the repository were trained. */
export const demoTraining: TrainingOptions = {
  steps: 800,
  batchTokens: 512,
  learningRate: 5e-3,
  seed: 1,
  validateEvery: 50,
};
