import { fail } from '../../native/errors.js';
import { show } from '../../native/show.js';
import type { ContextPart } from './part.js';

/** What goes to one part. */
export interface PartRequest {
  readonly part: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * How a {@link ContextParallel} and its parts talk: bytes out, bytes back, once per layer. Each
 * request is for {@link ContextPart.answer} of the worker that holds the part, and what that gives
 * is the reply. The contract:
 *
 * - Requests to one part arrive in the order of the calls of `scatter`, each once or not at all.
 * - `scatter` returns without waiting. It does not keep the bytes of a request from being sent to
 *   other parts: a slow part delays no other.
 * - `gather` gives a promise per request of that `scatter`, in their order. Replies may arrive in
 *   any order. One that can't come any more rejects as soon as that is known; one that might still
 *   come stays pending, and the caller's timeout ends it.
 * - Nobody writes to bytes that were handed over.
 *
 * @typeParam Sent What `gather` finds the replies of a `scatter` by.
 */
export interface ContextTransport<Sent = unknown> {
  /**
   * Sends each part its request.
   *
   * @param signal Aborted when nobody waits for the replies any more.
   */
  scatter(requests: readonly PartRequest[], signal: AbortSignal): Sent;
  /** The replies. */
  gather(sent: Sent): readonly Promise<Uint8Array>[];
}

/**
 * Parts in this process: for tests, and to try what a cut does.
 *
 * @param parts In the order of their numbers.
 * @throws {@link FlashAttentionError} `ERR_TYPE`.
 */
export function inProcessTransport(
  parts: readonly Pick<ContextPart, 'answer'>[],
): ContextTransport<readonly Promise<Uint8Array>[]> {
  if (!Array.isArray(parts)) fail('ERR_TYPE', 'parts', 'an array of ContextParts', show(parts));
  parts.forEach((part: Partial<ContextPart> | undefined, n) => {
    if (typeof part?.answer !== 'function') {
      fail('ERR_TYPE', `parts[${n}]`, 'a ContextPart', show(part));
    }
  });
  return {
    scatter: (requests) =>
      requests.map(async ({ part, bytes }) => {
        const holder = parts[part];
        if (holder === undefined) throw new Error(`There are ${parts.length} parts.`);
        return holder.answer(bytes);
      }),
    gather: (sent) => sent,
  };
}
