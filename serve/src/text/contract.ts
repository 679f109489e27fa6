/**
 * What the server needs of a model's tokenizer and chat template. `model` loads them from the
 * folder; the server has one copy in its thread and one in a worker, for long prompts. Plain data
 * crosses to the worker: {@link Chat} in, token ids out.
 */

/** A message as the template sees it: content is one string, parts are joined before. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly content: string | null;
  readonly name?: string;
  readonly tool_call_id?: string;
  readonly tool_calls?: readonly unknown[];
  readonly reasoning_content?: string;
}

/** What a template renders. */
export interface Chat {
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly unknown[];
  /** Further variables, such as `enable_thinking`. They never replace those above. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** The tokens of a model, by id. */
export interface Vocabulary {
  /** Ids are 0 to size - 1. */
  readonly size: number;
  /**
   * The bytes of UTF-8 that the token adds to a text that has begun: leading spaces stay, a byte
   * token is its byte, an added token its content. Empty for an id without a token.
   */
  bytes(token: number): Uint8Array;
  /** Control tokens, such as the end of a turn: no part of an answer's text. */
  isSpecial(token: number): boolean;
  /** The id of a token with exactly this content, added or not, if there is one. */
  idOf(content: string): number | undefined;
  /** UTF-16 units of the longest token: no fewer tokens than length / longest. */
  readonly longest: number;
}

/** A tokenizer with its chat template. */
export interface ModelText {
  readonly vocabulary: Vocabulary;
  /** The template's source, to see what it knows of tools; undefined: the model has none. */
  readonly chatTemplate?: string;
  /** Ids of a plain prompt, with the tokens that the tokenizer itself adds (BOS). */
  encode(text: string): Int32Array;
  /**
   * Renders the template with its generation prompt and encodes that, adding nothing. Text of
   * messages never becomes a special token.
   * @throws {@link ChatTemplateError}
   */
  encodeChat(chat: Chat): Int32Array;
}

/** The template refused the messages; the message is the template's own. */
export class ChatTemplateError extends Error {
  override readonly name = 'ChatTemplateError';
}
