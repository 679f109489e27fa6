/**
 * What a {@link FlashAttentionError} is about. The values are stable: test them, not messages.
 *
 * - `ERR_TYPE`: not the kind of value the argument takes
 * - `ERR_SHAPE`: a shape, rank or length that does not fit
 * - `ERR_DTYPE`: an element type that does not fit
 * - `ERR_DEVICE`: tensors on different devices, or a device name that is none
 * - `ERR_OPTION`: an option out of range, unknown, or at odds with another
 * - `ERR_DISPOSED`: the tensor or mask was disposed
 * - `ERR_OUT_OF_MEMORY`: the device has no room; everything still works afterwards
 * - `ERR_DEVICE_UNAVAILABLE`: the device cannot be used here; the message says why
 * - `ERR_CUDA`: a call of the CUDA runtime, or the work on a CUDA device, failed; the message has
 *   CUDA's own words
 * - `ERR_CANCELLED`: the environment (worker thread) is shutting down
 * - `ERR_NATIVE_BINARY`: the native addon could not be loaded
 * - `ERR_INTERNAL`: a failure of the native side that has no code of its own
 */
export type ErrorCode =
  | 'ERR_TYPE'
  | 'ERR_SHAPE'
  | 'ERR_DTYPE'
  | 'ERR_DEVICE'
  | 'ERR_OPTION'
  | 'ERR_DISPOSED'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_DEVICE_UNAVAILABLE'
  | 'ERR_CUDA'
  | 'ERR_CANCELLED'
  | 'ERR_NATIVE_BINARY'
  | 'ERR_INTERNAL';

const kBrand = Symbol.for('flash-attention.FlashAttentionError');

/**
 * Every failure this package reports. `instanceof` holds across the ESM and the CommonJS copy of
 * the package and across realms.
 *
 * @example
 * try {
 *   flashAttention(q, k, v, { causal: 'yes' });
 * } catch (error) {
 *   error.code; // 'ERR_TYPE'
 *   error.argument; // 'options.causal'
 *   error.message; // "Expected options.causal to be a boolean but received 'yes'."
 * }
 */
export class FlashAttentionError extends Error {
  /** Stable, see {@link ErrorCode}. */
  readonly code: ErrorCode;
  /** The argument as the caller wrote it, such as `'k'` or `'options.dropout.seed'`. */
  declare readonly argument?: string;

  static {
    FlashAttentionError.prototype.name = 'FlashAttentionError';
    Object.defineProperty(FlashAttentionError.prototype, kBrand, { value: true });
  }

  constructor(code: ErrorCode, message: string, details?: { argument?: string; cause?: unknown }) {
    super(message, details?.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    if (details?.argument) this.argument = details.argument;
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && kBrand in value;
  }
}

/** Throws "Expected `argument` to be … but received …". */
export function fail(
  code: ErrorCode,
  argument: string,
  expected: string,
  received: string,
  hint = '',
): never {
  const message = `Expected ${argument} to be ${expected} but received ${received}.`;
  throw new FlashAttentionError(code, hint ? `${message} ${hint}` : message, { argument });
}

const nativeCodes: ReadonlySet<string> = new Set<ErrorCode>([
  'ERR_TYPE',
  'ERR_SHAPE',
  'ERR_DTYPE',
  'ERR_DEVICE',
  'ERR_OPTION',
  'ERR_DISPOSED',
  'ERR_OUT_OF_MEMORY',
  'ERR_DEVICE_UNAVAILABLE',
  'ERR_CUDA',
  'ERR_CANCELLED',
  'ERR_NATIVE_BINARY',
]);

/**
 * Arguments that the native side knows by their bare name and the caller wrote inside `options`.
 */
const optionNames: ReadonlySet<string> = new Set([
  'window',
  'sinkTokens',
  'scale',
  'softcap',
  'seqlensK',
  'alibiSlopes',
  'mask',
  'blockMask',
  'sinks',
  'scales',
  'dropout',
  'numSplits',
  'cuSeqlensQ',
  'cuSeqlensK',
  'maxSeqlenQ',
  'maxSeqlenK',
  'pageTable',
]);

/**
 * What the caller calls an argument of the native side: `names` has tensors, such as q: 'state.q'.
 */
function publicName(argument: unknown, names: ArgumentNames): string | undefined {
  if (typeof argument !== 'string') return undefined;
  if (Object.hasOwn(names, argument)) return names[argument];
  const dot = argument.indexOf('.');
  const base = dot < 0 ? argument : argument.slice(0, dot);
  return optionNames.has(base) ? `options.${argument}` : argument;
}

/** Names that the caller uses instead of those of the native side. */
export type ArgumentNames = Readonly<Record<string, string>>;

/**
 * A native error as a {@link FlashAttentionError}, with the caller's name of the argument. Looks at
 * properties only: under Jest, errors that native code makes belong to another realm.
 */
export function fromNative(error: unknown, names: ArgumentNames = {}): FlashAttentionError {
  if (error instanceof FlashAttentionError) return error;
  const { code, argument, message } = (error ?? {}) as Record<string, unknown>;
  const known = typeof code === 'string' && nativeCodes.has(code);
  const name = publicName(argument, names);
  const text = typeof message === 'string' && message ? message : String(error);
  const begin = `Expected ${argument} `;
  return new FlashAttentionError(
    known ? (code as ErrorCode) : 'ERR_INTERNAL',
    name && text.startsWith(begin) ? `Expected ${name} ${text.slice(begin.length)}` : text,
    { argument: name, cause: error },
  );
}

/** Runs native code; its errors become {@link FlashAttentionError}. */
export function call<T>(run: () => T, names?: ArgumentNames): T {
  try {
    return run();
  } catch (error) {
    throw fromNative(error, names);
  }
}

/**
 * Waits for native work; its errors become {@link FlashAttentionError}, with the caller's stack.
 */
export async function wait<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw fromNative(error);
  }
}
