import { type ForwardOptions, OnnxForward } from '../../src/forward/onnx-forward.js';

/** A model with a cache of 2048 tokens in pages of 16, on the CPU or on FLASH_ATTENTION_DEVICE. */
export function loadForward(
  folder: string,
  options: Partial<ForwardOptions> = {},
): Promise<OnnxForward> {
  return OnnxForward.load({
    folder,
    maxTokensInCache: 2048,
    pageSize: 16,
    kvDtype: 'float32',
    device: process.env.FLASH_ATTENTION_DEVICE ?? 'cpu',
    threads: 1,
    ...options,
  });
}

/** The greatest difference, by the greatest number expected. */
export function relativeError(
  got: readonly Float32Array[],
  expected: readonly Float32Array[],
): number {
  expect(got.length).toBe(expected.length);
  let [error, largest] = [0, 0];
  expected.forEach((row, n) => {
    expect(got[n].length).toBe(row.length);
    row.forEach((value, i) => {
      largest = Math.max(largest, Math.abs(value));
      error = Math.max(error, Math.abs(value - got[n][i]));
    });
  });
  return error / largest;
}

/** The likeliest token. */
export function argmax(logits: Float32Array): number {
  return logits.indexOf(Math.max(...logits));
}
