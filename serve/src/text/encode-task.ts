import { type Chat, ChatTemplateError, type ModelText } from './contract.js';

/** What is to be encoded: a plain prompt or the messages of a chat. */
export type EncodeTask = string | Chat;

/** What crosses from the worker: errors lose their class on the way. */
export type EncodeReply = { readonly ids: Int32Array } | { readonly refusal: string };

export function encodeTask(text: ModelText, task: EncodeTask): Int32Array {
  return typeof task === 'string' ? text.encode(task) : text.encodeChat(task);
}

export function replyTo(text: ModelText, task: EncodeTask): EncodeReply {
  try {
    return { ids: encodeTask(text, task) };
  } catch (error) {
    if (error instanceof ChatTemplateError) return { refusal: error.message };
    throw error;
  }
}

export function idsOf(reply: EncodeReply): Int32Array {
  if ('refusal' in reply) throw new ChatTemplateError(reply.refusal);
  return reply.ids;
}
