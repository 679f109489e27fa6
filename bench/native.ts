// The benchmark's own addon (bench/native), as TypeScript sees it.
import { createRequire } from 'node:module';

export interface Peak {
  readonly perSecond: number;
  /** What it was reached with, such as `AVX2 FMA`. */
  readonly instructions: string;
}

/** Every call is synchronous and uses `threads` threads of its own, the caller's among them. */
export interface BenchAddon {
  fmaPeak(threads: number, repeats: number): Peak;
  /** Null where the CPU has no such instruction. */
  bf16DotPeak(threads: number, repeats: number): Peak | null;
  /** Bytes per second; the buffer stays for the next call. */
  readBandwidth(bytes: number, threads: number, repeats: number): number;
  releaseReadBuffer(): void;
  /** Floats that `scores` of standardAttention must have. */
  standardScores(heads: number, seqlenQ: number, seqlenK: number): number;
  /** q, k, v, out: [heads, seqlen, headDim]; headDim a multiple of 16, up to 256. */
  standardAttention(
    q: Float32Array,
    k: Float32Array,
    v: Float32Array,
    out: Float32Array,
    scores: Float32Array,
    heads: number,
    seqlenQ: number,
    seqlenK: number,
    headDim: number,
    causal: boolean,
    threads: number,
  ): void;
  /**
   * The gradients. `scores` and `ds`: standardScores(heads, seqlenQ, seqlenK) floats; `turned`:
   * standardScores(heads, seqlenK, seqlenQ).
   */
  standardAttentionBackward(
    q: Float32Array,
    k: Float32Array,
    v: Float32Array,
    dOut: Float32Array,
    dq: Float32Array,
    dk: Float32Array,
    dv: Float32Array,
    scores: Float32Array,
    ds: Float32Array,
    turned: Float32Array,
    heads: number,
    seqlenQ: number,
    seqlenK: number,
    headDim: number,
    causal: boolean,
    threads: number,
  ): void;
}

/** Beside the bundle this file ends up in. */
export const benchAddon = createRequire(import.meta.url)(
  './flash_attention_bench.node',
) as BenchAddon;
