// What callers say of a layer.
import type { CommonAttentionOptions, ReturnLse } from '../../attention/options.js';
import { type CallOptions, checkSignal } from '../../native/call-options.js';
import { fail } from '../../native/errors.js';
import { show } from '../../native/show.js';
import {
  checkBoolean,
  checkInteger,
  checkNumber,
  checkOptions,
  checkWindowBound,
} from '../../tensor/check.js';
import { isFloat32Array } from '../../tensor/tensor-data.js';
import type { RotaryTables } from '../rotary.js';
import type { PartOptions } from './request.js';
import type { Reach } from './visible-keys.js';

/** Options of {@link ContextStep.attention}: those of {@link StepAttentionOptions}, in numbers. */
export interface ContextAttentionOptions
  extends Pick<CallOptions, 'signal'>,
    Pick<CommonAttentionOptions, 'scale' | 'window' | 'sinkTokens' | 'softcap' | 'numSplits'> {
  /** A learned logit per query head, `[heads]`: it joins the softmax's denominator, once. */
  sinks?: Float32Array | readonly number[];
  /** `[heads]`: adds -slope * |p - j|, of tokens where they stand in the sequence. */
  alibiSlopes?: Float32Array | readonly number[];
  /**
   * Rotates q and k where their tokens stand, before they are sent: tensors are rounded to their
   * dtype. Default: not.
   */
  rotary?: RotaryTables;
}

const optionKeys: ReadonlySet<string> = new Set([
  'scale',
  'window',
  'sinkTokens',
  'softcap',
  'sinks',
  'alibiSlopes',
  'numSplits',
  'rotary',
  'returnLse',
  'signal',
]);

interface CheckedOptions {
  readonly reach: Reach;
  readonly options: PartOptions;
  readonly sinks: Float32Array | undefined;
  readonly alibiSlopes: Float32Array | undefined;
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
    sinks: checkPerHead(sinks, heads, 'options.sinks'),
    alibiSlopes: checkPerHead(checked.alibiSlopes, heads, 'options.alibiSlopes'),
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

function checkPerHead(value: unknown, heads: number, argument: string): Float32Array | undefined {
  if (value === undefined) return undefined;
  if (!isFloat32Array(value) && !Array.isArray(value)) {
    fail('ERR_TYPE', argument, 'a Float32Array or an array of numbers', show(value));
  }
  if (value.length !== heads) {
    fail('ERR_SHAPE', argument, `of ${heads} numbers, one per head,`, `${value.length}`);
  }
  for (let h = 0; h < heads; h++) checkNumber(value[h], `${argument}[${h}]`);
  return Float32Array.from(value as ArrayLike<number>);
}
