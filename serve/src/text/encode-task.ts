import { type Chat, ChatTemplateError, type ModelText } from './contract.js';

/** What is to be encoded: a plain prompt or the messages of a chat. */
export type EncodeTask = string | Chat;

/** What crosses from the worker: errors lose their class on the way. */
export type EncodeReply = { readonly ids: Int32Array } | { readonly refusal: string };

/** @returns ids, or the words with which the chat template refused the messages. */
export function encodeTask(text: ModelText, task: EncodeTask): EncodeReply {
  try {
    return { ids: typeof task === 'string' ? text.encode(task) : text.encodeChat(task) };
  } catch (error) {
    const { name, message } = error as Error;
    if (name === ChatTemplateError.name) return { refusal: message };
    throw error;
  }
}

/** @throws {@link ChatTemplateError} */
export function idsOf(reply: EncodeReply): Int32Array {
  if ('refusal' in reply) throw new ChatTemplateError(reply.refusal);
  return reply.ids;
}
