import type { AttentionResult } from '../../attention/options.js';
import type { TypedArray } from '../../tensor/dtype.js';
import type { FloatDType, HostTensor } from '../../tensor/host-tensor.js';
import type { AppendedPages } from '../append.js';
import type { PageMemory } from '../page-memory.js';
import type { SequenceState } from '../sequence-state.js';
import type { AttendRequest } from './request.js';

/** A layer of a part that new tokens were appended to, and the queries that attend to it. */
export interface PartLayer {
  readonly memory: PageMemory;
  readonly request: AttendRequest;
  /** Of the entries of the request. */
  readonly states: readonly SequenceState[];
  /** `[rows, heads, headDim]` */
  readonly q: HostTensor<FloatDType>;
  readonly pages: AppendedPages;
}

/** The results of rows. */
export interface RowState {
  /** `[rows, heads, headDimV]`, of the dtype of the reply. */
  readonly out: TypedArray<FloatDType>;
  /** `[heads, rows]` */
  readonly lse: Float32Array;
}

/** A result as numbers, out in the dtype of the reply. */
export async function taken(
  { out, lse }: AttentionResult,
  { replyDType }: AttendRequest,
): Promise<RowState> {
  const reply = out.dtype === replyDType ? out : out.to(replyDType);
  if (reply !== out) out.dispose();
  const [rows, sums] = await Promise.all([reply.take(), lse.take()]);
  return { out: rows as RowState['out'], lse: sums };
}
