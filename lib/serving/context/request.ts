// What a part can be asked. Each request names the cut, so that no worker answers for another part.
import { FlashAttentionError, fail } from '../../native/errors.js';
import { show } from '../../native/show.js';
import { checkDType } from '../../tensor/dtype.js';
import { type FloatDType, floatDTypes } from '../../tensor/host-tensor.js';
import { checkInteger, checkNumber, checkOptions, checkWindowBound } from '../../tensor/check.js';
import { type CutPart, checkCutPart } from './cut.js';
import type { Message } from './message.js';
import type { Reach } from './visible-keys.js';

/** Tokens of a sequence, as all parts count them: `tokens` new ones behind `length`. */
export interface EntryRequest {
  readonly sequence: number;
  readonly length: number;
  readonly tokens: number;
}

/** Of {@link CommonAttentionOptions}, what parts need to know. */
export interface PartOptions {
  readonly scale?: number;
  readonly softcap?: number;
  readonly numSplits?: number;
}

interface Addressed {
  readonly cut: CutPart;
  /** Who owns the sequences: their numbers are that {@link ContextParallel}'s. */
  readonly owner: string;
}

/**
 * Appends what is the part's of k and v, and attends: see {@link attend}. Tensors are q, k and v
 * where some are the part's, and ALiBi slopes where there are some.
 */
export interface AttendRequest extends Addressed {
  readonly kind: 'attend';
  /** One number for all layers of a step. */
  readonly step: number;
  readonly layer: number;
  readonly entries: readonly EntryRequest[];
  readonly reach: Reach;
  readonly options: PartOptions;
  /** Of out in the reply. */
  readonly replyDType: FloatDType;
}

/** Appends saved tokens in all layers. */
export interface AppendRequest extends Addressed, EntryRequest {
  readonly kind: 'append';
  readonly step: number;
}

/** Begins sequence `to` with the first tokens of another. */
export interface ForkRequest extends Addressed {
  readonly kind: 'fork';
  readonly sequence: number;
  readonly length: number;
  readonly to: number;
}

/** Gives the pages of a sequence back. */
export interface DropRequest extends Addressed {
  readonly kind: 'drop';
  readonly sequence: number;
}

export type Request = AttendRequest | AppendRequest | ForkRequest | DropRequest;

const most = Number.MAX_SAFE_INTEGER;
const maxInt32 = 2 ** 31 - 1;

type Body = Readonly<Record<string, unknown>>;

/** @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_OPTION`, `ERR_CUT_MISMATCH`. */
export function readRequest({ body }: Message, own: CutPart): Request {
  const cut = checkCutPart(body.cut as CutPart, 'request.cut');
  if (!sameCut(cut, own)) {
    throw new FlashAttentionError(
      'ERR_CUT_MISMATCH',
      `Expected a request for ${shown(own)} but received one for ${shown(cut)}.`,
      { argument: 'request.cut' },
    );
  }
  if (typeof body.owner !== 'string')
    fail('ERR_TYPE', 'request.owner', 'a string', show(body.owner));
  const addressed = { cut, owner: body.owner };
  const number = (name: string) => checkInteger(body[name], 0, most, `request.${name}`);
  switch (body.kind) {
    case 'attend':
      return { ...addressed, kind: 'attend', step: number('step'), ...attendFields(body) };
    case 'append':
      return { ...addressed, kind: 'append', step: number('step'), ...entryOf(body, 'request') };
    case 'fork': {
      const { sequence, length } = entryOf({ ...body, tokens: 0 }, 'request');
      return { ...addressed, kind: 'fork', sequence, length, to: number('to') };
    }
    case 'drop':
      return { ...addressed, kind: 'drop', sequence: number('sequence') };
    default:
      return fail('ERR_TYPE', 'request.kind', 'attend, append, fork or drop', show(body.kind));
  }
}

function sameCut(a: CutPart, b: CutPart): boolean {
  return a.parts === b.parts && a.tokensPerRun === b.tokensPerRun && a.part === b.part;
}

function shown({ part, parts, tokensPerRun }: CutPart): string {
  return `part ${part} of ${parts} in runs of ${tokensPerRun} tokens`;
}

function entryOf(value: unknown, path: string): EntryRequest {
  if (typeof value !== 'object' || value === null) fail('ERR_TYPE', path, 'an object', show(value));
  const { sequence, length, tokens } = value as Body;
  const before = checkInteger(length, 0, maxInt32, `${path}.length`);
  return {
    sequence: checkInteger(sequence, 0, most, `${path}.sequence`),
    length: before,
    tokens: checkInteger(tokens, 0, maxInt32 - before, `${path}.tokens`),
  };
}

const optionKeys: ReadonlySet<string> = new Set(['scale', 'softcap', 'numSplits']);

function attendFields(body: Body): Omit<AttendRequest, keyof Addressed | 'kind' | 'step'> {
  const { entries, layer } = body;
  if (!Array.isArray(entries)) fail('ERR_TYPE', 'request.entries', 'an array', show(entries));
  const read = entries.map((entry, i) => entryOf(entry, `request.entries[${i}]`));
  if (new Set(read.map(({ sequence }) => sequence)).size !== read.length) {
    fail('ERR_OPTION', 'request.entries', 'of sequences named once', 'one that is named twice');
  }
  const options = checkOptions(body.options as PartOptions, optionKeys, 'request.options') ?? {};
  for (const value of Object.values(options)) checkNumber(value, 'request.options');
  const { left, right, sinkTokens } = (body.reach ?? {}) as Body;
  return {
    layer: checkInteger(layer, 0, most, 'request.layer'),
    entries: read,
    // JSON has no Infinity: no bound is null.
    reach: {
      left: checkWindowBound(left ?? Infinity, 'request.reach.left'),
      right: checkWindowBound(right, 'request.reach.right'),
      sinkTokens: checkInteger(sinkTokens, 0, most, 'request.reach.sinkTokens'),
    },
    options,
    replyDType: checkDType(body.replyDType, 'request.replyDType', floatDTypes) as FloatDType,
  };
}
