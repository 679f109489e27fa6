import type { Limits } from './limits.js';
import type { Pace } from './measure.js';
import type { OnnxRuntime } from './peers/onnxruntime.js';

export type FloatDType = 'float32' | 'float16' | 'bfloat16';

/** What the command line asks of the suites. */
export interface Choice {
  /** Small shapes and few repetitions. */
  readonly quick: boolean;
  /** Time the work without reading the result back. */
  readonly read: boolean;
  readonly peers: boolean;
  /** Undefined: the suite's own. */
  readonly seqlens?: readonly number[];
  readonly headDims?: readonly number[];
  readonly dtypes: readonly FloatDType[];
}

/** What a suite works with. */
export interface Context {
  readonly choice: Choice;
  readonly pace: Pace;
  readonly limits: Limits;
  /** Null when it is not installed or not wanted. */
  readonly onnxRuntime: OnnxRuntime | null;
}
