import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Template } from '@huggingface/jinja';
import { type Chat, ChatTemplateError } from '../text/contract.js';
import { isObject, type Json, readJsonIfAny } from './json-file.js';
import { ModelError } from './model-error.js';

/** A model's chat template, ready to be rendered. */
export interface ChatTemplate {
  readonly source: string;
  /** With its generation prompt. @throws {@link ChatTemplateError} */
  render(chat: Chat): string;
}

/**
 * @param config tokenizer_config.json
 * @returns undefined for a model without a template.
 * @throws {@link ModelError} when the template can't be parsed.
 */
export function readChatTemplate(folder: string, config: Json): ChatTemplate | undefined {
  const source = findSource(folder, config);
  if (source === undefined) return undefined;
  let template: Template;
  try {
    template = new Template(source);
  } catch (error) {
    throw new ModelError(`the chat template can't be read: ${(error as Error).message}`);
  }
  const ends = Object.fromEntries(
    ['bos_token', 'eos_token', 'pad_token', 'unk_token'].map((key) => [
      key,
      contentOf(config[key]),
    ]),
  );
  const render = ({ messages, tools, variables }: Chat) => {
    try {
      return template.render({
        ...variables,
        ...ends,
        messages,
        ...(tools?.length ? { tools } : {}),
        add_generation_prompt: true,
      });
    } catch (error) {
      throw new ChatTemplateError((error as Error).message);
    }
  };
  return { source, render };
}

function findSource(folder: string, config: Json): string | undefined {
  const file = path.join(folder, 'chat_template.jinja');
  if (existsSync(file)) return readFileSync(file, 'utf8');
  const given = config.chat_template ?? readJsonIfAny(folder, 'chat_template.json')?.chat_template;
  if (typeof given === 'string') return given;
  if (!Array.isArray(given)) return undefined;
  const named = given.filter(isObject);
  const byDefault = named.find(({ name }) => name === 'default') ?? named[0];
  return typeof byDefault?.template === 'string' ? byDefault.template : undefined;
}

/** Tokens are strings, or objects of AddedToken. */
export function contentOf(token: unknown): string | undefined {
  const content = isObject(token) ? token.content : token;
  return typeof content === 'string' ? content : undefined;
}
