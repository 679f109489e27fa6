import { type DeviceName, deviceOption } from '../../native/device.js';
import { fail } from '../../native/errors.js';
import { show } from '../../native/show.js';
import { checkInteger, checkOptions } from '../../tensor/check.js';
import { checkDType } from '../../tensor/dtype.js';
import { type FloatDType, floatDTypes } from '../../tensor/host-tensor.js';
import { type ContextCut, checkCut, cutKeys } from './cut.js';
import { ContextLink } from './link.js';
import {
  type ContextSequence,
  ContextState,
  contextStateOf,
  type GrowingState,
  newContextSequence,
} from './sequence.js';
import { type ContextStep, type ModelShape, newContextStep } from './step.js';
import type { ContextTransport } from './transport.js';

/** What a {@link ContextParallel} is made for. */
export interface ContextParallelOptions {
  /** That of every worker. */
  cut: ContextCut;
  transport: ContextTransport;
  /** Layers of the model. */
  layers: number;
  kvHeads: number;
  headDim: number;
  /** Default headDim. */
  headDimV?: number;
  /**
   * How long a layer, a fork or a moved piece may take until every part has answered. Default
   * 10 000.
   */
  timeoutMs?: number;
  /** Where replies are merged and rows rotated. Default {@link defaultDevice}. */
  device?: DeviceName;
  /**
   * What each part rounds its out to before it sends it. The merged out is a mean of these: it is
   * off by at most 2^-8 (bfloat16) or 2^-11 (float16) of the largest, or 2^-25 where float16's
   * fall below 2^-14. float16 has no number above 65504. Default float32: nothing is rounded.
   */
  replyDType?: FloatDType;
}

/** New tokens of one sequence. */
export interface ContextStepEntry {
  sequence: ContextSequence;
  /** How many. */
  tokens: number;
}

const optionKeys: ReadonlySet<string> = new Set([
  'cut',
  'transport',
  'layers',
  'kvHeads',
  'headDim',
  'headDimV',
  'timeoutMs',
  'device',
  'replyDType',
]);
/** With trees, which are refused. */
const entryKeys: ReadonlySet<string> = new Set(['sequence', 'tokens', 'tree']);
const knownCutKeys: ReadonlySet<string> = new Set(cutKeys);

const maxHeadDim = 576;
const maxInt32 = 2 ** 31 - 1;

/**
 * Sequences whose pages lie on several workers, each a {@link ContextPart}: context-parallel
 * decoding. A layer of a step is one scatter, of the query rows to all parts that they see
 * something of and of the new keys and values to the part that they belong to, and one gather of
 * (out, lse), which are merged exactly. One process owns a sequence.
 *
 * @example
 * const cut = { parts: 3, tokensPerRun: 1024 };
 * const context = new ContextParallel({ cut, transport, layers: 2, kvHeads: 8, headDim: 128 });
 * const sequence = context.createSequence();
 * const step = context.step([{ sequence, tokens: 1 }]);
 * for (let layer = 0; layer < 2; layer++) out = await step.attention(layer, q, k, v);
 * step.commit();
 */
export class ContextParallel {
  readonly #link: ContextLink;
  readonly #shape: ModelShape;

  /** @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_OPTION`, `ERR_DEVICE`. */
  constructor(options: ContextParallelOptions) {
    const given = checkOptions(options, optionKeys);
    if (given === undefined) {
      fail('ERR_TYPE', 'options', 'an object with cut, transport and a shape', 'undefined');
    }
    const count = (name: keyof ContextParallelOptions, most: number, value: unknown) =>
      checkInteger(value, 1, most, `options.${name}`);
    const { transport, timeoutMs = 10_000, headDim, headDimV = headDim } = given;
    const { replyDType = 'float32' } = given;
    const is = (name: 'scatter' | 'gather') => typeof transport?.[name] === 'function';
    if (!is('scatter') || !is('gather')) {
      const expected = 'an object with functions scatter and gather';
      fail('ERR_TYPE', 'options.transport', expected, show(transport));
    }
    const cut = checkOptions(given.cut, knownCutKeys, 'options.cut') ?? ({} as ContextCut);
    this.#shape = {
      layers: count('layers', 2 ** 16, given.layers),
      kvHeads: count('kvHeads', 2 ** 16, given.kvHeads),
      headDim: count('headDim', maxHeadDim, headDim),
      headDimV: count('headDimV', maxHeadDim, headDimV),
      device: deviceOption(given.device),
      replyDType: checkDType(replyDType, 'options.replyDType', floatDTypes) as FloatDType,
    };
    const wait = count('timeoutMs', maxInt32, timeoutMs);
    this.#link = new ContextLink(checkCut(cut, 'options.cut'), transport, wait);
  }

  /** What workers know its sequences by: for {@link ContextPart.release} once it is gone. */
  get owner(): string {
    return this.#link.owner;
  }

  /** An empty sequence. */
  createSequence(): ContextSequence {
    return newContextSequence(new ContextState(this.#link));
  }

  /**
   * Opens a step. Workers get to know of it in its first layer: too few pages show there.
   *
   * @param entries At least one, each sequence once; rows of q, k and v are in their order.
   * @throws {@link FlashAttentionError} `ERR_STATE` when a sequence is part of an open step,
   * `ERR_TYPE`, `ERR_OPTION`, `ERR_DISPOSED`.
   */
  step(entries: readonly ContextStepEntry[]): ContextStep {
    if (!Array.isArray(entries)) fail('ERR_TYPE', 'entries', 'an array', show(entries));
    if (entries.length === 0) fail('ERR_OPTION', 'entries', 'at least one entry', 'none');
    const states = new Set<ContextState>();
    const checked = Array.from(entries, (entry: ContextStepEntry, i): GrowingState => {
      const path = `entries[${i}]`;
      const given = checkOptions(entry, entryKeys, path);
      if (given === undefined) fail('ERR_TYPE', path, 'an object', 'undefined');
      if ('tree' in given && given.tree !== undefined) {
        const hint = 'A path that is kept would move its tokens from part to part.';
        fail(
          'ERR_OPTION',
          `${path}.tree`,
          'absent: drafts over several parts are no tree,',
          'one',
          hint,
        );
      }
      const state = this.#checkSequence(given.sequence, `${path}.sequence`);
      if (states.has(state)) {
        fail('ERR_OPTION', `${path}.sequence`, 'a sequence of its own', 'one that is named twice');
      }
      states.add(state);
      const most = maxInt32 - state.length;
      return {
        sequence: given.sequence,
        state,
        tokens: checkInteger(given.tokens, 1, most, `${path}.tokens`),
      };
    });
    return newContextStep(this.#link, this.#shape, checked);
  }

  #checkSequence(value: unknown, path: string): ContextState {
    const state = contextStateOf(value);
    if (state === undefined) fail('ERR_TYPE', path, 'a ContextSequence', show(value));
    if (state.link !== this.#link) {
      fail('ERR_OPTION', path, 'a sequence of this ContextParallel', 'one of another');
    }
    if (state.disposed) {
      fail('ERR_DISPOSED', path, 'a live ContextSequence', 'one that was disposed');
    }
    if (state.open) fail('ERR_STATE', path, 'in no open step', 'one that is part of a step');
    return state;
  }
}
