import { checkIntVector, intHandle } from '../attention/int-vector.js';
import { applyCommon } from '../attention/modifiers.js';
import type { CommonAttentionOptions, IntVector, ReturnLse } from '../attention/options.js';
import {
  type NativeStepOptionArgs,
  type NativeStepOptions,
  type NativeTensor,
  native,
} from '../native/addon.js';
import type { CallOptions } from '../native/call-options.js';
import type { DeviceName } from '../native/device.js';
import { call } from '../native/errors.js';
import { checkBoolean, checkOptions } from '../tensor/check.js';
import type { Tensor } from '../tensor/tensor.js';
import { type RotaryTables, rotaryNames, tableArgs, tableKeys } from './rotary.js';

/** Options of {@link Step.attention}. */
export interface StepAttentionOptions
  extends Pick<CallOptions, 'signal'>,
    Pick<
      CommonAttentionOptions,
      'scale' | 'window' | 'sinkTokens' | 'softcap' | 'alibiSlopes' | 'sinks' | 'numSplits'
    > {
  /** Rotates q and k where their tokens stand. Default: not. */
  rotary?: RotaryTables & {
    /** int32 `[totalTokens]`. Default: 0, 1, 2, … of each sequence. */
    positions?: IntVector;
  };
}

/** When {@link Step.attention} returns, and what. */
export interface Sync<Value extends boolean = boolean> {
  /**
   * True: when the layer has been computed, on the CPU by the calling thread, with numbers. For an
   * engine in a worker thread: the thread does nothing else meanwhile. Default false.
   */
  sync?: Value;
}

/** Those of {@link Step.attention}. */
export const optionKeys: ReadonlySet<string> = new Set([
  'scale',
  'window',
  'sinkTokens',
  'softcap',
  'alibiSlopes',
  'sinks',
  'numSplits',
  'rotary',
  'returnLse',
  'signal',
  'sync',
]);

/** The caller's names of what the native side calls otherwise. */
export const stepNames = rotaryNames('options.rotary');

/** Options of one call, checked. */
interface PreparedOptions {
  readonly handle: NativeStepOptions;
  readonly positions: NativeTensor | undefined;
  readonly returnLse: boolean;
  readonly sync: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Models have one or two kinds of layers, each with options of its own. */
const kept = 4;

/** What a cache's calls said lately, as the native side has it: layers mostly say the same. */
export class StepOptionsMemo {
  readonly #device: DeviceName;
  readonly #recent: { readonly args: NativeStepOptionArgs; readonly handle: NativeStepOptions }[] =
    [];

  constructor(device: DeviceName) {
    this.#device = device;
  }

  /** `temporaries` gets what was made for this call. */
  prepare(
    options: (StepAttentionOptions & ReturnLse & Sync) | undefined,
    temporaries: Tensor[],
  ): PreparedOptions {
    const {
      scale,
      window,
      sinkTokens,
      softcap,
      alibiSlopes,
      sinks,
      numSplits,
      rotary,
      returnLse = false,
      signal,
      sync = false,
    } = checkOptions(options, optionKeys) ?? {};
    const args: NativeStepOptionArgs = {
      scale: undefined,
      windowLeft: undefined,
      windowRight: undefined,
      sinkTokens: undefined,
      softcap: undefined,
      numSplits: undefined,
      alibiSlopes: undefined,
      sinks: undefined,
      rotary: undefined,
    };
    const common = { scale, window, sinkTokens, softcap, alibiSlopes, sinks, numSplits };
    applyCommon(args, common, this.#device);
    let positions: NativeTensor | undefined;
    const path = 'options.rotary';
    const tables = checkOptions(rotary, tableKeys, path) as typeof rotary;
    if (tables) {
      args.rotary = tableArgs(tables, path, this.#device);
      if (tables.positions !== undefined) {
        const given = checkIntVector(tables.positions, this.#device, `${path}.positions`);
        positions = intHandle(given, this.#device, temporaries, {});
      }
    }
    return {
      handle: this.#handleOf(args),
      positions,
      returnLse: checkBoolean(returnLse, 'options.returnLse'),
      sync: checkBoolean(sync, 'options.sync'),
      signal,
    };
  }

  #handleOf(args: NativeStepOptionArgs): NativeStepOptions {
    for (const one of this.#recent) if (alike(one.args, args)) return one.handle;
    const handle = call(() => native().stepOptions(this.#device, args), stepNames);
    this.#recent.unshift({ args, handle });
    this.#recent.splice(kept);
    return handle;
  }
}

function alike(a: NativeStepOptionArgs, b: NativeStepOptionArgs): boolean {
  return (
    a.scale === b.scale &&
    a.windowLeft === b.windowLeft &&
    a.windowRight === b.windowRight &&
    a.sinkTokens === b.sinkTokens &&
    a.softcap === b.softcap &&
    a.numSplits === b.numSplits &&
    a.alibiSlopes === b.alibiSlopes &&
    a.sinks === b.sinks &&
    a.rotary?.cos === b.rotary?.cos &&
    a.rotary?.sin === b.rotary?.sin &&
    a.rotary?.interleaved === b.rotary?.interleaved &&
    a.rotary?.rotaryOffset === b.rotary?.rotaryOffset
  );
}
