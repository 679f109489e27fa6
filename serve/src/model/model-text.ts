import { Tokenizer } from '@huggingface/tokenizers';
import type { Chat, ModelText } from '../text/contract.js';
import { ChatTemplateError } from '../text/contract.js';
import { readChatTemplate } from './chat-template.js';
import { isObject, type Json, readJson, readJsonIfAny } from './json-file.js';
import { ModelError } from './model-error.js';
import { addedTokens, vocabularyOf } from './vocabulary.js';

/**
 * A character that Unicode keeps free for a program's own use. It is put into text of messages
 * where that spells a special token, so that the token is not seen in it, and taken out again once
 * special tokens have been found.
 */
const mark = '\uFDD0';

/**
 * Tokenizer and chat template of a model's folder.
 *
 * @throws {@link ModelError} when a file is missing, broken or not supported.
 */
export async function loadModelText(folder: string): Promise<ModelText> {
  const json = withSpecialsAsTheyAre(readJson(folder, 'tokenizer.json'));
  const config = readJsonIfAny(folder, 'tokenizer_config.json') ?? {};
  let tokenizer: Tokenizer;
  try {
    tokenizer = new Tokenizer(json, config);
  } catch (error) {
    throw new ModelError(`tokenizer.json can't be used: ${(error as Error).message}`);
  }
  unmarkBeforeSplitting(tokenizer);
  const vocabulary = vocabularyOf(tokenizer, json);
  const template = readChatTemplate(folder, config);
  const specials = addedTokens(tokenizer)
    .filter(({ special }) => special)
    .map(({ content }) => content);
  const encode = (text: string, add_special_tokens: boolean) =>
    checkedIds(tokenizer.encode(text, { add_special_tokens }).ids);
  return {
    vocabulary,
    ...(template ? { chatTemplate: template.source } : {}),
    encode: (text) => encode(text, true),
    encodeChat: (chat) => {
      if (!template) throw new ChatTemplateError('The model has no chat template.');
      return encode(template.render(withoutSpecials(chat, specials)), false);
    },
  };
}

/** Takes marks out again, behind the last place where the tokenizer looks for special tokens. */
function unmarkBeforeSplitting(tokenizer: Tokenizer): void {
  type PreTokenizer = (text: string, options: object) => string[];
  const split: PreTokenizer = tokenizer.pre_tokenizer ?? ((text: string) => [text]);
  const unmarked: PreTokenizer = (text, options) => split(text.replaceAll(mark, ''), options);
  tokenizer.pre_tokenizer = unmarked as unknown as typeof tokenizer.pre_tokenizer;
}

/** Special tokens are looked for before text is normalised. */
function withSpecialsAsTheyAre(json: Json): Json {
  if (!Array.isArray(json.added_tokens)) return { ...json, added_tokens: [] };
  const added_tokens = json.added_tokens.map((token) =>
    isObject(token) && token.special ? { ...token, normalized: false } : token,
  );
  return { ...json, added_tokens };
}

function checkedIds(ids: readonly (number | undefined)[]): Int32Array {
  const unknown = ids.findIndex((id) => !Number.isInteger(id));
  if (unknown >= 0) throw new Error(`the tokenizer has no id for its token ${unknown} of a text`);
  return Int32Array.from(ids as number[]);
}

/** Marks special tokens in all text of users and tools. */
function withoutSpecials({ messages, tools, variables }: Chat, specials: string[]): Chat {
  const marked = (text: string) =>
    specials.reduce(
      (result, token) => result.replaceAll(token, token[0] + mark + token.slice(1)),
      text.replaceAll(mark, ''),
    );
  const deep = <T>(value: T): T => {
    if (typeof value === 'string') return marked(value) as T;
    if (Array.isArray(value)) return value.map(deep) as T;
    if (!isObject(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, deep(each)])) as T;
  };
  return { messages: deep(messages), tools: deep(tools), variables: deep(variables) };
}
