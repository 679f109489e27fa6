import { isObject, type Json, numberIn, readJson, readJsonIfAny } from './json-file.js';
import { contentOf } from './chat-template.js';

/** What of tokenizer files the engine has to know; it makes no text. */
export interface TokenTable {
  /** The greatest id of a token. */
  readonly last: number;
  /** The token that ends an answer, if the tokenizer names one that it has. */
  readonly eosTokenId?: number;
  has(id: number): boolean;
}

/** @throws ModelError when a file is missing or broken. */
export function readTokenTable(folder: string): TokenTable {
  const json = readJson(folder, 'tokenizer.json');
  const added = (Array.isArray(json.added_tokens) ? json.added_tokens : []).filter(isObject);
  const ids = new Set<number>([
    ...vocabIds(isObject(json.model) ? json.model : {}),
    ...added.flatMap((token) => numberIn(token, 'id') ?? []),
  ]);
  const eos = contentOf(readJsonIfAny(folder, 'tokenizer_config.json')?.eos_token);
  const named = added.find(({ content }) => content === eos);
  const eosTokenId = numberIn(named, 'id');
  let last = -1;
  for (const id of ids) last = Math.max(last, id);
  return {
    last,
    has: (id) => ids.has(id),
    ...(eosTokenId === undefined ? {} : { eosTokenId }),
  };
}

/** BPE has ids by token, Unigram tokens in the order of their ids. */
function vocabIds({ vocab }: Json): number[] {
  if (Array.isArray(vocab)) return vocab.map((_, id) => id);
  return isObject(vocab) ? Object.values(vocab).map(Number) : [];
}
