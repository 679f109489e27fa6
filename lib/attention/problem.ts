// One attention call, checked and translated for the native side.

import { type NativeAttentionArgs, native } from '../native/addon.js';
import { type CallOptions, enqueued } from '../native/call-options.js';
import { call } from '../native/errors.js';
import { liveHandle, type Tensor } from '../tensor/tensor.js';
import type { AttentionResult } from './options.js';
import type { Names } from './qkv.js';
import { resultTensor } from './result.js';

export interface Problem {
  readonly args: NativeAttentionArgs;
  readonly q: Tensor;
  /** What the caller calls q, k and v. */
  readonly names: Names;
  readonly options: CallOptions | undefined;
  /** Tensors made for this call from plain arrays. */
  readonly temporaries: Tensor[];
}

/** All fields from the start, so that every call's arguments have one hidden class. */
export function newArgs(q: Tensor, k: Tensor, v: Tensor, layout: 0 | 1): NativeAttentionArgs {
  return {
    q: liveHandle(q),
    k: liveHandle(k),
    v: liveHandle(v),
    layout,
    returnLse: false,
    plain: undefined,
    scale: undefined,
    causal: undefined,
    windowLeft: undefined,
    windowRight: undefined,
    sinkTokens: undefined,
    softcap: undefined,
    seqlensK: undefined,
    alibiSlopes: undefined,
    mask: undefined,
    blockMaskTable: undefined,
    blockMaskBits: undefined,
    blockQ: undefined,
    blockK: undefined,
    blockMaskSeqlenQ: undefined,
    blockMaskSeqlenK: undefined,
    sinks: undefined,
    qScale: undefined,
    kScale: undefined,
    vScale: undefined,
    dropoutP: undefined,
    dropoutSeed: undefined,
    dropoutOffset: undefined,
    numSplits: undefined,
    cuSeqlensQ: undefined,
    cuSeqlensK: undefined,
    maxSeqlenQ: undefined,
    maxSeqlenK: undefined,
    pageTable: undefined,
    treeMask: undefined,
    positions: undefined,
  };
}

/** Enqueues the call. */
export function run(problem: Problem): Tensor | AttentionResult {
  const { args, q, names, temporaries, options } = problem;
  try {
    const enqueue = () => call(() => native().attention(args), names);
    const [out, lse] = enqueued(options, enqueue);
    if (lse === null) return resultTensor(out, q.device);
    return { out: resultTensor(out, q.device), lse: resultTensor(lse, q.device) };
  } finally {
    release(temporaries);
  }
}

/** The call keeps what it needs; the handles made for it are of no more use. */
export function release(temporaries: readonly Tensor[]): void {
  for (const temporary of temporaries) temporary.dispose();
}
