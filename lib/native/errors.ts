import { keepName } from './show.js';

const errorCodes = [
  'ERR_TYPE',
  'ERR_SHAPE',
  'ERR_DTYPE',
  'ERR_DEVICE',
  'ERR_OPTION',
  'ERR_DISPOSED',
  'ERR_STATE',
  'ERR_CACHE_FULL',
  'ERR_PART_MISSING',
  'ERR_PART_TIMEOUT',
  'ERR_CUT_MISMATCH',
  'ERR_OUT_OF_MEMORY',
  'ERR_DEVICE_UNAVAILABLE',
  'ERR_CUDA',
  'ERR_ABORTED',
  'ERR_CANCELLED',
  'ERR_NATIVE_BINARY',
  'ERR_INTERNAL',
] as const;

/**
 * What a {@link FlashAttentionError} is about. The values are stable: test them, not messages.
 *
 * - `ERR_TYPE`: not the kind of value the argument takes
 * - `ERR_SHAPE`: a shape, rank or length that does not fit
 * - `ERR_DTYPE`: an element type that does not fit
 * - `ERR_DEVICE`: tensors on different devices, or on one that lacks the operation, or a device
 *   name that is none
 * - `ERR_OPTION`: an option out of range, unknown, or at odds with another
 * - `ERR_DISPOSED`: the tensor, mask, cache or sequence was disposed
 * - `ERR_STATE`: not now: a step is open, has ended, or lacks a layer; a trace runs already
 * - `ERR_CACHE_FULL`: a cache has too few pages left; `missingPages` says how many more it takes,
 *   and nothing has changed
 * - `ERR_PART_MISSING`: the worker of a part of a context-parallel sequence cannot be reached, or
 *   does not have its tokens (any more); `part` says which
 * - `ERR_PART_TIMEOUT`: the worker of a part did not answer in time; `part` says which
 * - `ERR_CUT_MISMATCH`: a worker holds another part, or one of another cut, than the caller asks
 *   for
 * - `ERR_OUT_OF_MEMORY`: the device has no room; everything still works afterwards
 * - `ERR_DEVICE_UNAVAILABLE`: the device cannot be used here; the message says why
 * - `ERR_CUDA`: a call of the CUDA runtime, or the work on a CUDA device, failed; the message has
 *   CUDA's own words
 * - `ERR_ABORTED`: the `signal` of the call was aborted, and `cause` is its reason; or the call
 *   reads what an aborted one should have made
 * - `ERR_CANCELLED`: the environment (worker thread) is shutting down
 * - `ERR_NATIVE_BINARY`: the native addon could not be loaded
 * - `ERR_INTERNAL`: a failure of the native side that has no code of its own
 *
 * What a device cannot do is an error of what was asked of it (`ERR_DTYPE`, `ERR_SHAPE` or
 * `ERR_OPTION`); `ERR_DEVICE` is about where tensors are.
 */
export type ErrorCode = (typeof errorCodes)[number];

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
  /** With `ERR_CACHE_FULL`: pages that have to come free first. */
  declare readonly missingPages?: number;
  /** Of a context-parallel sequence: the part whose worker failed. */
  declare readonly part?: number;

  static {
    FlashAttentionError.prototype.name = 'FlashAttentionError';
    keepName(FlashAttentionError, 'FlashAttentionError');
    Object.defineProperty(FlashAttentionError.prototype, kBrand, { value: true });
  }

  constructor(
    code: ErrorCode,
    message: string,
    details?: { argument?: string; cause?: unknown; missingPages?: number; part?: number },
  ) {
    super(message, details?.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    if (details?.argument) this.argument = details.argument;
    if (details?.missingPages) this.missingPages = details.missingPages;
    if (details?.part !== undefined) this.part = details.part;
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

const knownCodes: ReadonlySet<unknown> = new Set(errorCodes);

/** A code that came from the native side, or from another process. */
export function codeOf(value: unknown): ErrorCode {
  return knownCodes.has(value) ? (value as ErrorCode) : 'ERR_INTERNAL';
}

/** Names that the caller wrote inside `options`, as the native side has them. */
const optionNames: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    [
      'sinkTokens',
      'scale',
      'softcap',
      'seqlensK',
      'alibiSlopes',
      'mask',
      'blockMask',
      'sinks',
      'scales',
      'kScales',
      'vScales',
      'dropout',
      'numSplits',
      'cuSeqlensQ',
      'cuSeqlensK',
      'maxSeqlenQ',
      'maxSeqlenK',
      'pageTable',
      'slots',
      'positions',
    ].map((name) => [name, `options.${name}`]),
  ),
  windowLeft: 'options.window[0]',
  windowRight: 'options.window[1]',
  dropoutSeed: 'options.dropout.seed',
  dropoutOffset: 'options.dropout.offset',
};

/**
 * Names that the caller uses instead of those of the native side, such as q: 'state.q'. A function
 * names a member of a list by its index, '[1]', and the list by ''.
 */
export type ArgumentNames = Readonly<Record<string, string | ((index: string) => string)>>;

/** What the caller calls an argument of the native side, or a part of one: `dropout.p`, `k[1]`. */
export function publicName(argument: string, names: ArgumentNames): string {
  const base = argument.match(/^\w+/)?.[0] ?? argument;
  for (const known of [argument, base]) {
    const name = Object.hasOwn(names, known) ? names[known] : optionNames[known];
    if (name === undefined) continue;
    const rest = argument.slice(known.length);
    return typeof name === 'function' ? name(rest) : `${name}${rest}`;
  }
  return argument;
}

/** "q, k and v" as the caller has them, in one packed tensor perhaps. */
function nameInputs(names: ArgumentNames): string {
  const inputs = [...new Set(['q', 'k', 'v'].map((name) => publicName(name, names)))];
  const last = inputs.pop();
  return inputs.length > 0 ? `${inputs.join(', ')} and ${last}` : `${last}`;
}

/** The argument, and which member of it where it is a list that `names` has a function for. */
function place(argument: unknown, text: string, names: ArgumentNames): string | undefined {
  if (typeof argument !== 'string') return undefined;
  if (typeof names[argument] !== 'function') return argument;
  return text.match(new RegExp(`\`(${argument}\\[\\d+\\])\``))?.[1] ?? argument;
}

/**
 * A native error as a {@link FlashAttentionError}, with the caller's names of arguments, which
 * native messages mark by backticks. Looks at properties only: under Jest, errors that native code
 * makes belong to another realm.
 */
export function fromNative(error: unknown, names: ArgumentNames = {}): FlashAttentionError {
  if (error instanceof FlashAttentionError) return error;
  const { code, argument, message } = (error ?? {}) as Record<string, unknown>;
  const native = typeof message === 'string' && message ? message : String(error);
  const text = native
    .replace('`q`, `k` and `v`', () => nameInputs(names))
    .replace(/`([\w.[\]]+)`/g, (_, name: string) => publicName(name, names));
  const given = place(argument, native, names);
  return new FlashAttentionError(
    codeOf(code),
    text.startsWith('Expected ') && !text.endsWith('.') ? `${text}.` : text,
    { argument: given === undefined ? undefined : publicName(given, names), cause: error },
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
