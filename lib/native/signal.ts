// Calls that an AbortSignal can stop.

import { type NativeAbortFlag, native } from './addon.js';
import { FlashAttentionError, fail } from './errors.js';
import { show } from './show.js';

/** What every function that enqueues work, and every read, takes. */
export interface Abortable {
  /**
   * Aborts the call: work that has not begun is dropped, work that runs stops at its next work item
   * (a GPU finishes what it was given), and what it should have filled rejects with `ERR_ABORTED`.
   * A call with a signal that is aborted already fails at once.
   */
  signal?: AbortSignal;
}

/** The signal of options that hold nothing else. */
export function signalOf(options: Abortable | undefined): AbortSignal | undefined {
  if (options === undefined) return undefined;
  if (typeof options !== 'object' || options === null) {
    fail('ERR_TYPE', 'options', 'an object', show(options));
  }
  for (const key in options) {
    if (key !== 'signal') fail('ERR_OPTION', 'options', '{ signal }', `the key '${key}'`);
  }
  return options.signal;
}

/** One flag per signal, and one listener, however many calls it is given to. */
const flags = new WeakMap<AbortSignal, NativeAbortFlag>();

/** Runs `enqueue`, whose tasks stop when `signal` is aborted. */
export function abortable<T>(signal: AbortSignal | undefined, enqueue: () => T): T {
  if (signal === undefined) return enqueue();
  checkSignal(signal);
  if (signal.aborted) throw aborted(signal);
  native().stopOn(flagOf(signal));
  try {
    return enqueue();
  } finally {
    native().stopOn(undefined);
  }
}

/** The same for a read, which rejects as soon as its signal is aborted. */
export function abortableRead<T>(
  signal: AbortSignal | undefined,
  read: () => Promise<T>,
): Promise<T> {
  if (signal === undefined) return read();
  return new Promise<T>((resolve, reject) => {
    const pending = abortable(signal, read);
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

function checkSignal(signal: unknown): void {
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
