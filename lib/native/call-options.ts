// What holds for one call: what aborts it, and which queue it goes to.

import { type NativeAbortFlag, type NativeTensor, native } from './addon.js';
import { checkOptions } from './check-options.js';
import { FlashAttentionError, fail } from './errors.js';
import { show } from './show.js';

/**
 * The queue of a device that a call goes to. Each thread has two of them per device, whose calls
 * run in order; a call waits for one of the other queue only where it reads what that one makes.
 */
export type Priority = 'normal' | 'high';

/** What every function that enqueues work, and every read, takes. */
export interface CallOptions {
  /**
   * Aborts the call: work that has not begun is dropped, work that runs stops at its next work item
   * (a GPU finishes what it was given), and what it should have filled rejects with `ERR_ABORTED`.
   * A call with a signal that is aborted already fails at once.
   */
  signal?: AbortSignal;
  /**
   * `'high'` puts the call into the device's second queue, which does not wait for the first: a
   * short call overtakes a long one, whose work items make way on the CPU. Tensors may pass from
   * one queue to the other; a call waits for what it reads. Default `'normal'`; a read is in the
   * queue of the call that made the tensor, unless `'high'` is asked for.
   */
  priority?: Priority;
}

export const callKeys = ['signal', 'priority'] as const;

const callKeySet: ReadonlySet<string> = new Set(callKeys);

/** Options that hold nothing else. */
export function checkCallOptions(options: CallOptions | undefined): CallOptions | undefined {
  return checkOptions(options, callKeySet);
}

/** One flag per signal, and one listener, however many calls it is given to. */
const flags = new WeakMap<AbortSignal, NativeAbortFlag>();

/** The signals that calls were given, by the handles of what they make. */
const signals = new WeakMap<object, AbortSignal>();

/** Runs `enqueue`, whose tasks go where `options` say and stop when their signal is aborted. */
export function enqueued<T>(options: CallOptions | undefined, enqueue: () => T): T {
  const made = directed(options, enqueue);
  const signal = options?.signal;
  if (signal !== undefined) {
    for (const result of [made].flat()) {
      if (typeof result === 'object' && result !== null) signals.set(result, signal);
    }
  }
  return made;
}

/** A view is aborted with what it views. */
export function shareSignal(viewed: NativeTensor, view: NativeTensor): void {
  const signal = signals.get(viewed);
  if (signal !== undefined) signals.set(view, signal);
}

function directed<T>(options: CallOptions | undefined, enqueue: () => T): T {
  const signal = options?.signal;
  const high = options !== undefined && isHigh(options.priority);
  if (signal === undefined && !high) return enqueue();
  if (signal !== undefined) {
    checkSignal(signal);
    if (signal.aborted) throw aborted(signal);
  }
  const addon = native();
  if (signal !== undefined) addon.stopOn(flagOf(signal));
  if (high) addon.prioritize(1);
  try {
    return enqueue();
  } finally {
    if (signal !== undefined) addon.stopOn(undefined);
    if (high) addon.prioritize(0);
  }
}

/**
 * The same for a read, which rejects as soon as its signal is aborted. When the call that makes
 * `tensor` was aborted instead, the error has the reason of that call's signal.
 */
export async function enqueuedRead<T>(
  options: CallOptions | undefined,
  tensor: NativeTensor,
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await abortableRead(options, read);
  } catch (error) {
    const signal = signals.get(tensor);
    const { code } = (error ?? {}) as { code?: unknown };
    const isNative = !(error instanceof FlashAttentionError);
    throw isNative && code === 'ERR_ABORTED' && signal?.aborted ? aborted(signal) : error;
  }
}

function abortableRead<T>(options: CallOptions | undefined, read: () => Promise<T>): Promise<T> {
  const signal = options?.signal;
  if (signal === undefined) return directed(options, read);
  return new Promise<T>((resolve, reject) => {
    const pending = directed(options, read);
    const stop = () => reject(aborted(signal));
    signal.addEventListener('abort', stop, { once: true });
    pending.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

function flagOf(signal: AbortSignal): NativeAbortFlag {
  let flag = flags.get(signal);
  if (flag === undefined) {
    const made = native().newAbortFlag();
    signal.addEventListener('abort', () => native().abort(made), { once: true });
    flags.set(signal, made);
    flag = made;
  }
  return flag;
}

function isHigh(priority: unknown): boolean {
  if (priority === undefined || priority === 'normal') return false;
  if (priority === 'high') return true;
  const code = typeof priority === 'string' ? 'ERR_OPTION' : 'ERR_TYPE';
  return fail(code, 'options.priority', "'normal' or 'high'", show(priority));
}

export function checkSignal(signal: unknown): void {
  const is = typeof signal === 'object' && signal !== null && 'aborted' in signal;
  if (!is || !('addEventListener' in signal)) {
    fail('ERR_TYPE', 'options.signal', 'an AbortSignal', show(signal));
  }
}

function aborted(signal: AbortSignal): FlashAttentionError {
  return new FlashAttentionError('ERR_ABORTED', 'The call was aborted.', {
    argument: 'options.signal',
    cause: signal.reason,
  });
}
