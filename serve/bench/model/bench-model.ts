import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { type Variant, variants, writeTestModel } from '../../test/models/index.js';
import type { ModelFiles } from '../contestant.js';
import { writeLlamaGguf } from './llama-gguf.js';

/** Six layers of 768, int4: large enough for products to take their share, quick to make. */
export const benchVariant: Variant = variants.mid;

/** Writes the model for every contestant: same seed, same weights. */
export function writeBenchModel(parent: string, accuracyLevel: number): ModelFiles {
  const variant: Variant = { ...benchVariant, weights: { int4: { accuracyLevel } } };
  const folder = path.join(parent, 'bench-model');
  const gguf = path.join(parent, 'bench-model.gguf');
  const seed = 1;
  mkdirSync(folder);
  writeTestModel(folder, variant, { layout: 'transformers.js', seed });
  writeLlamaGguf(gguf, variant, seed);
  return { folder, graph: path.join(folder, 'onnx/model_q4.onnx'), gguf };
}
