import { type ErrorCode, FlashAttentionError } from '../../lib/index.js';

/** What `run` throws or rejects with. */
export async function errorOf(run: () => unknown): Promise<FlashAttentionError> {
  try {
    await run();
  } catch (error) {
    expect(error).toBeInstanceOf(FlashAttentionError);
    return error as FlashAttentionError;
  }
  throw new Error('Nothing was thrown.');
}

/** What `run` throws at the call. */
export function thrownBy(run: () => unknown): FlashAttentionError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(FlashAttentionError);
    return error as FlashAttentionError;
  }
  throw new Error('Nothing was thrown at the call.');
}

/** Throws at the call, with a code, the argument's name and "Expected … but received …". */
export function expectThrow(
  run: () => unknown,
  code: ErrorCode,
  argument: string,
  message?: RegExp,
): void {
  const error = thrownBy(run);
  expect({ code: error.code, argument: error.argument }).toEqual({ code, argument });
  expect(error.message).toMatch(/^Expected .* but received /s);
  if (message) expect(error.message).toMatch(message);
}

/** For arguments of a wrong type, which TypeScript would refuse. */
// biome-ignore lint/suspicious/noExplicitAny: stands for any type on purpose
export const wrong = (value: unknown): any => value;
