// What goes wrong on a worker, as its caller gets to know it.
import { codeOf, FlashAttentionError } from '../../native/errors.js';
import { decodeMessage, encodeMessage, type Message } from './message.js';

export function encodeError(error: unknown): Uint8Array<ArrayBuffer> {
  const { code, message, argument, missingPages } = (error ?? {}) as Partial<FlashAttentionError>;
  const text = message ?? String(error);
  return encodeMessage(
    { error: { code: codeOf(code), message: text, argument, missingPages } },
    {},
  );
}

/** A reply, or the worker's error as one of this call. */
export function decodeReply(bytes: Uint8Array, part: number): Message {
  const reply = decodeMessage(bytes, `the reply of part ${part}`);
  const { error } = reply.body as { error?: Partial<Record<string, unknown>> };
  if (error === undefined) return reply;
  const { code, message, argument, missingPages } = error;
  throw new FlashAttentionError(codeOf(code), `Part ${part}: ${message}`, {
    part,
    argument: typeof argument === 'string' ? argument : undefined,
    missingPages: typeof missingPages === 'number' ? missingPages : undefined,
  });
}
