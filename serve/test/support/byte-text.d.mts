import type { ModelText } from '../../src/text/contract.js';

export const ids: {
  readonly bos: number;
  readonly turn: number;
  readonly end: number;
  readonly word: number;
};
export const vocabSize: number;
export const chatTemplate: string;

/** A tokenizer that every thread can make: a token for each byte, some special ones, one word. */
export function loadModelText(folder: string): Promise<ModelText>;
