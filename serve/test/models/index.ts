export { Random } from './random.js';
export { chatTemplate, specialIds, specialTokens } from './tokenizer.js';
export { type Variant, type VariantName, variants } from './variants.js';
export { type TestModelOptions, writeTestModel } from './write-model.js';
export { modelsFolder } from './models-folder.js';
