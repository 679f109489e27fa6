/**
 * The independent test vectors: ONNX's `Attention` and onnxruntime's MultiHeadAttention and
 * GroupQueryAttention, as problems of this library. Data only; the folder lies beside the checkout
 * or is named by FLASH_ATTENTION_CONFORMANCE, and may be absent.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ReferenceMask, ReferenceProblem } from '../../lib/reference/index.js';
import type { SharedOptions } from './numerics.js';

interface LoadedTensor {
  readonly dtype: string;
  readonly dims: readonly number[];
  readonly size: number;
  readonly data: Float32Array | Int32Array | Uint8Array;
}

interface LoadedCase {
  readonly name: string;
  readonly attrs: Readonly<Record<string, number | string | undefined>>;
  readonly inputs: Readonly<Record<string, LoadedTensor | undefined>>;
  readonly outputs: Readonly<Record<string, LoadedTensor | undefined>>;
}

export interface ConformanceCase {
  readonly name: string;
  readonly problem: ReferenceProblem;
  readonly options: SharedOptions;
  /** out as [batch, seqlenQ, heads, headDimV]. */
  readonly expected: Float64Array;
  /** Noise of the stored numbers. */
  readonly tolerance: number;
}

const folder =
  process.env.FLASH_ATTENTION_CONFORMANCE ?? join(process.cwd(), '..', 'shared', 'conformance');
export const haveConformance = existsSync(join(folder, 'load.mjs'));

/** [batch, seqlen, heads, dim], whichever of the two forms the tensor has. */
interface Bshd {
  readonly batch: number;
  readonly seqlen: number;
  readonly heads: number;
  readonly dim: number;
  readonly data: Float64Array;
}

function bshd(t: LoadedTensor, heads: number): Bshd {
  if (t.dims.length === 3) {
    const [batch, seqlen, width] = t.dims;
    return { batch, seqlen, heads, dim: width / heads, data: Float64Array.from(t.data) };
  }
  const [batch, h, seqlen, dim] = t.dims;
  const data = new Float64Array(t.size);
  for (let b = 0; b < batch; b++) {
    for (let s = 0; s < seqlen; s++) {
      for (let ih = 0; ih < h; ih++) {
        for (let c = 0; c < dim; c++) {
          data[((b * seqlen + s) * h + ih) * dim + c] =
            t.data[((b * h + ih) * seqlen + s) * dim + c];
        }
      }
    }
  }
  return { batch, seqlen, heads: h, dim, data };
}

function afterPast(past: LoadedTensor | undefined, now: Bshd): Bshd {
  if (!past || past.dims[2] === 0) return now;
  const before = bshd(past, now.heads);
  const row = now.heads * now.dim;
  const seqlen = before.seqlen + now.seqlen;
  const data = new Float64Array(now.batch * seqlen * row);
  for (let b = 0; b < now.batch; b++) {
    data.set(
      before.data.subarray(b * before.seqlen * row, (b + 1) * before.seqlen * row),
      b * seqlen * row,
    );
    data.set(
      now.data.subarray(b * now.seqlen * row, (b + 1) * now.seqlen * row),
      (b * seqlen + before.seqlen) * row,
    );
  }
  return { ...now, seqlen, data };
}

/** Keys that the mask's last axis does not reach are not attended. */
function mask(t: LoadedTensor | undefined, seqlenK: number): ReferenceMask | undefined {
  if (!t) return undefined;
  const width = t.dims[t.dims.length - 1];
  const bool = t.dtype === 'bool';
  if (width === seqlenK || width === 1) {
    return { shape: t.dims, data: bool ? Uint8Array.from(t.data) : Float32Array.from(t.data) };
  }
  const rows = t.size / width;
  const data = bool
    ? new Uint8Array(rows * seqlenK)
    : new Float32Array(rows * seqlenK).fill(-Infinity);
  for (let r = 0; r < rows; r++) data.set(t.data.subarray(r * width, (r + 1) * width), r * seqlenK);
  return { shape: [...t.dims.slice(0, -1), seqlenK], data };
}

function onnxCase({ name, attrs, inputs, outputs }: LoadedCase): ConformanceCase {
  const number = (key: string) => attrs[key] as number | undefined;
  const { Q, K, V, attn_mask, past_key, past_value, nonpad_kv_seqlen: nonpad } = inputs;
  const q = bshd(Q as LoadedTensor, number('q_num_heads') ?? 0);
  const k = afterPast(past_key, bshd(K as LoadedTensor, number('kv_num_heads') ?? 0));
  const v = afterPast(past_value, bshd(V as LoadedTensor, number('kv_num_heads') ?? 0));
  // ONNX aligns the diagonal at the past, at each sequence's end, or top-left; this library at each
  // sequence's end.
  const offset = past_key ? past_key.dims[2] : 0;
  const shift = nonpad ? 0 : offset - (k.seqlen - q.seqlen);
  const side = (key: string) => {
    const value = number(key) ?? -1;
    return value < 0 ? Infinity : value;
  };
  const right = attrs.is_causal
    ? Math.min(0, side('right_window_size'))
    : side('right_window_size');
  const options: SharedOptions = {
    scale: number('scale'),
    softcap: number('softcap'),
    window: [side('left_window_size') - shift, right + shift],
    mask: mask(attn_mask, k.seqlen),
    seqlensK: nonpad && Array.from(nonpad.data),
  };
  return conformanceCase(
    name,
    q,
    k,
    v,
    options,
    outputs.Y as LoadedTensor,
    Q?.dtype === 'float16' ? 2e-3 : 2e-6,
  );
}

function onnxruntimeCase({ name, attrs, inputs, outputs }: LoadedCase): ConformanceCase {
  const heads = attrs.num_heads as number;
  const kvHeads = (attrs.kv_num_heads as number | undefined) ?? heads;
  const grouped = attrs.op === 'GroupQueryAttention';
  const q = bshd(inputs.query as LoadedTensor, heads);
  const k = afterPast(inputs.past_key, bshd(inputs.key as LoadedTensor, kvHeads));
  const v = afterPast(inputs.past_value, bshd(inputs.value as LoadedTensor, kvHeads));
  const width = attrs.local_window_size as number | undefined;
  const options: SharedOptions = {
    causal: grouped,
    softcap: attrs.softcap as number | undefined,
    window: width === undefined ? undefined : [width - 1, Infinity], // theirs counts the query itself
    mask: mask(inputs.attention_bias, k.seqlen),
    sinks: attrs.smooth_softmax
      ? new Array(heads).fill(0)
      : inputs.head_sink && Array.from(inputs.head_sink.data),
    seqlensK: inputs.seqlens_k && Array.from(inputs.seqlens_k.data, (last) => last + 1),
  };
  return conformanceCase(name, q, k, v, options, outputs.output as LoadedTensor, 2e-6);
}

function conformanceCase(
  name: string,
  q: Bshd,
  k: Bshd,
  v: Bshd,
  given: SharedOptions,
  expected: LoadedTensor,
  tolerance: number,
): ConformanceCase {
  const options = Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  ) as SharedOptions;
  const shape = {
    batch: q.batch,
    seqlenQ: q.seqlen,
    seqlenK: k.seqlen,
    heads: q.heads,
    kvHeads: k.heads,
    headDim: q.dim,
    headDimV: v.dim,
  };
  const problem = { ...options, shape, q: q.data, k: k.data, v: v.data } as ReferenceProblem;
  return { name, problem, options, expected: bshd(expected, q.heads).data, tolerance };
}

/** All 100 cases; none when the folder is not there. */
export async function conformanceCases(): Promise<ConformanceCase[]> {
  if (!haveConformance) return [];
  const { loadCases } = (await import(pathToFileURL(join(folder, 'load.mjs')).href)) as {
    loadCases(name: string): LoadedCase[];
  };
  return [...loadCases('cases').map(onnxCase), ...loadCases('ort').map(onnxruntimeCase)];
}
