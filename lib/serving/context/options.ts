// What callers say of a layer.
import type { CommonAttentionOptions, ReturnLse } from '../../attention/options.js';
import { type CallOptions, checkSignal } from '../../native/call-options.js';
import type { DeviceName } from '../../native/device.js';
import { fail } from '../../native/errors.js';
import { show } from '../../native/show.js';
import {
  checkBoolean,
  checkInteger,
  checkNumber,
  checkOptions,
  checkWindowBound,
} from '../../tensor/check.js';
import { tensor } from '../../tensor/make.js';
import { checkAttached, isFloat32Array } from '../../tensor/tensor-data.js';
import { type RotaryTables, rotate } from '../rotary.js';
import type { PartOptions } from './request.js';
import type { GrowingState } from './sequence.js';
import type { Reach } from './visible-keys.js';

/** Options of {@link ContextStep.attention}: those of {@link StepAttentionOptions}, but ALiBi. */
export interface ContextAttentionOptions
  extends Pick<CallOptions, 'signal'>,
    Pick<CommonAttentionOptions, 'scale' | 'window' | 'sinkTokens' | 'softcap' | 'numSplits'> {
  /** A learned logit per query head, `[heads]`: it joins the softmax's denominator, once. */
  sinks?: Float32Array | readonly number[];
  /** Rotates q and k where their tokens stand, before they are sent. Default: not. */
  rotary?: RotaryTables;
}

const optionKeys: ReadonlySet<string> = new Set([
  'scale',
  'window',
  'sinkTokens',
  'softcap',
  'sinks',
  'numSplits',
  'rotary',
  'returnLse',
  'signal',
]);

const rotaryKeys: ReadonlySet<string> = new Set(['cos', 'sin', 'interleaved', 'rotaryDim']);

interface CheckedOptions {
  readonly reach: Reach;
  readonly options: PartOptions;
  readonly sinks: ArrayLike<number> | undefined;
  readonly rotary: RotaryTables | undefined;
  readonly signal: AbortSignal | undefined;
}

/** What workers judge themselves is passed on as it is. */
export function checkContextOptions(
  given: (ContextAttentionOptions & ReturnLse) | undefined,
  heads: number,
): CheckedOptions {
  const checked = checkOptions(given, optionKeys) ?? {};
  const { scale, softcap, numSplits, window, sinkTokens = 0, sinks, rotary, signal } = checked;
  if (checked.returnLse !== undefined) checkBoolean(checked.returnLse, 'options.returnLse');
  const numbers = { scale, softcap, numSplits: numSplits === 'auto' ? undefined : numSplits };
  for (const [name, value] of Object.entries(numbers)) {
    if (value === undefined || Number.isFinite(checkNumber(value, `options.${name}`))) continue;
    fail('ERR_OPTION', `options.${name}`, 'a finite number', show(value));
  }
  if (signal !== undefined) checkSignal(signal);
  const tokens = checkInteger(sinkTokens, 0, Number.MAX_SAFE_INTEGER, 'options.sinkTokens');
  return {
    reach: { ...checkWindow(window), sinkTokens: tokens },
    options: numbers,
    sinks: checkSinks(sinks, heads),
    rotary,
    signal,
  };
}

function checkWindow(window: unknown): Pick<Reach, 'left' | 'right'> {
  if (window === undefined) return { left: Infinity, right: 0 };
  if (!Array.isArray(window) || window.length !== 2) {
    fail('ERR_TYPE', 'options.window', 'an array [left, right]', show(window));
  }
  const left = checkWindowBound(window[0], 'options.window[0]');
  return { left, right: Math.min(0, checkWindowBound(window[1], 'options.window[1]')) };
}

function checkSinks(sinks: unknown, heads: number): ArrayLike<number> | undefined {
  if (sinks === undefined) return undefined;
  if (!isFloat32Array(sinks) && !Array.isArray(sinks)) {
    fail('ERR_TYPE', 'options.sinks', 'a Float32Array or an array of numbers', show(sinks));
  }
  if (sinks.length !== heads) {
    fail('ERR_SHAPE', 'options.sinks', `of ${heads} numbers, one per head,`, `${sinks.length}`);
  }
  for (let h = 0; h < heads; h++) checkNumber(sinks[h], `options.sinks[${h}]`);
  return Float32Array.from(sinks as ArrayLike<number>);
}

/** Rows of a layer. Returns how many heads they have: `heads`, or a multiple of kvHeads. */
export function checkRow(
  value: unknown,
  argument: string,
  total: number,
  dim: number,
  kvHeads: number,
  heads?: number,
): number {
  if (!isFloat32Array(value)) fail('ERR_TYPE', argument, 'a Float32Array', show(value));
  checkAttached(value, argument);
  const found = value.length / (total * dim);
  const fits = heads === undefined ? found > 0 && found % kvHeads === 0 : found === heads;
  if (!fits) {
    const expected = `${total} rows of ${heads ?? `a multiple of ${kvHeads}`} heads of ${dim}`;
    fail('ERR_SHAPE', argument, expected, `${value.length} numbers`);
  }
  return found;
}

/** q and k turned where their tokens stand; v is as it was at the call. */
export async function rotated(
  [q, k, v]: readonly Float32Array[],
  rotary: RotaryTables,
  entries: readonly GrowingState[],
  { total, headDim, device }: { total: number; headDim: number; device: DeviceName },
): Promise<Float32Array[]> {
  const path = 'options.rotary';
  checkOptions(rotary, rotaryKeys, path);
  const all = entries.flatMap(({ state, tokens }) =>
    Array.from({ length: tokens }, (_, i) => state.length + i),
  );
  const positions = { data: Int32Array.from(all), shape: [total] };
  const values = v.slice();
  const turned = await Promise.all(
    [q, k].map((data) => {
      const heads = data.length / (total * headDim);
      const x = tensor(data, [total, heads, headDim], { dtype: 'float32', device });
      try {
        return rotate(x, rotary, positions, path).take();
      } finally {
        x.dispose();
      }
    }),
  );
  return [...turned, values];
}
