import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestModelOptions, writeTestModel } from './write-model.js';
import type { VariantName } from './variants.js';

/** A folder for the models of a test file, which goes when its tests have run. */
export function modelsFolder(): (
  variant: VariantName,
  options?: TestModelOptions,
  name?: string,
) => string {
  const root = mkdtempSync(path.join(tmpdir(), 'flash-attention-serve-'));
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  return (variant, options = {}, name = variant) => {
    const folder = path.join(root, name);
    writeTestModel(folder, variant, options);
    return folder;
  };
}
