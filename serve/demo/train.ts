import type { ModelText } from '../src/text/contract.js';
import { drawBatch } from './corpus/chat.js';
import { AdamW } from './decoder/adamw.js';
import { nativeAttention } from './decoder/attention.js';
import { Decoder, type DecoderShape, initialValues } from './decoder/decoder.js';
import { Random } from './random.js';

export interface TrainingOptions {
  readonly steps: number;
  /** Tokens of a step, a little more. */
  readonly batchTokens: number;
  /** At its highest, after a twentieth of the steps; it ends at a twentieth of that. */
  readonly learningRate: number;
  readonly seed: number;
  /** Steps from one look at the validation loss to the next. */
  readonly validateEvery: number;
}

/** Losses in nats per token of answers. */
export interface LossPoint {
  readonly step: number;
  /** The mean since the last point. */
  readonly training: number;
  readonly validation: number;
}

/** The loss over dialogues whose questions are put in ways that training never sees. */
export function validationLoss(decoder: Decoder, encode: ModelText['encode']): Promise<number> {
  const { context } = decoder.shape;
  const size = { tokens: 4096, context };
  return decoder.loss(drawBatch(new Random(validationSeed), 'validation', encode, size));
}

const validationSeed = 2;

/** Rises, then falls along a cosine. */
function learningRateAt(step: number, { steps, learningRate }: TrainingOptions): number {
  const warm = Math.ceil(steps / 20);
  if (step < warm) return (learningRate * (step + 1)) / warm;
  const done = (step - warm) / Math.max(1, steps - warm);
  return learningRate * (0.05 + 0.95 * 0.5 * (1 + Math.cos(Math.PI * done)));
}

/**
 * Trains a decoder from the beginning. The same options give the same decoder.
 *
 * @param told is called after every step with its loss, and with a point where there is one.
 */
export async function train(
  shape: DecoderShape,
  encode: ModelText['encode'],
  options: TrainingOptions,
  told: (step: number, loss: number, point?: LossPoint, decoder?: Decoder) => void = () => {},
): Promise<Decoder> {
  const random = new Random(options.seed);
  const decoder = new Decoder(shape, nativeAttention, initialValues(shape, random));
  const optimizer = new AdamW(decoder.parameters);
  const size = { tokens: options.batchTokens, context: shape.context };
  let losses: number[] = [];
  for (let step = 0; step < options.steps; step++) {
    const loss = await decoder.lossAndGradients(drawBatch(random, 'training', encode, size));
    optimizer.step(learningRateAt(step, options));
    losses.push(loss);
    const done = step + 1;
    if (done % options.validateEvery === 0 || done === options.steps) {
      const training = losses.reduce((sum, each) => sum + each, 0) / losses.length;
      const validation = await validationLoss(decoder, encode);
      losses = [];
      told(done, loss, { step: done, training, validation }, decoder);
    } else told(done, loss);
  }
  return decoder;
}
