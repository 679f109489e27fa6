import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestModelOptions, writeTestModel } from './write-model.js';
import type { Variant, VariantName } from './variants.js';

/** A folder for the models of a test file, which goes when its tests have run. */
export function modelsFolder(): (
  variant: VariantName | Variant,
  options?: TestModelOptions,
  name?: string,
) => string {
  const root = mkdtempSync(path.join(tmpdir(), 'flash-attention-serve-'));
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  return (variant, options = {}, name = typeof variant === 'string' ? variant : 'model') => {
    const folder = path.join(root, name);
    writeTestModel(folder, variant, options);
    return folder;
  };
}
