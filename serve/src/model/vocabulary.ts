import type { Tokenizer } from '@huggingface/tokenizers';
import type { Vocabulary } from '../text/contract.js';
import { isObject, type Json } from './json-file.js';
import { ModelError } from './model-error.js';

/** A token beside the model's own, as tokenizer.json has it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Controls, and is no text. */
  readonly special: boolean;
}

export function addedTokens(tokenizer: Tokenizer): AddedToken[] {
  return Array.from(tokenizer.get_added_tokens_decoder().values() as Iterable<AddedToken>);
}

const utf8 = new TextEncoder();
const none = new Uint8Array();

/**
 * The tokens of a tokenizer by id, with their bytes.
 *
 * @throws {@link ModelError} when the tokenizer decodes in a way that is not known here.
 */
export function vocabularyOf(tokenizer: Tokenizer, json: Json): Vocabulary {
  const contents: string[] = [];
  let longest = 1;
  const vocab: Map<string | undefined, number> = tokenizer.get_vocab(true);
  for (const [content, id] of vocab) {
    // An id that no token has.
    if (content === undefined) continue;
    contents[id] = content;
    longest = Math.max(longest, content.length);
  }
  const added = new Map(addedTokens(tokenizer).map((token) => [token.id, token]));
  const decode = decoderOf(json.decoder);
  const bytes = contents.map((content, id) =>
    added.has(id) ? utf8.encode(content) : decode(content),
  );
  return {
    size: contents.length,
    bytes: (token) => bytes[token] ?? none,
    isSpecial: (token) => added.get(token)?.special ?? false,
    idOf: (content) => vocab.get(content),
    longest,
  };
}

type DecodeToken = (content: string) => Uint8Array;

/** What one token adds to a text: the parts of a decoder that look at a token alone. */
function decoderOf(json: unknown): DecodeToken {
  const steps = stepsOf(json);
  const types = steps.map(({ type }) => type);
  if (types.includes('ByteLevel')) return fromByteLetters;
  const replacements = steps.flatMap(replacementOf);
  const byteTokens = types.includes('ByteFallback');
  return (content) => {
    const byte = byteTokens ? /^<0x([0-9A-Fa-f]{2})>$/.exec(content) : null;
    if (byte) return Uint8Array.of(Number.parseInt(byte[1], 16));
    return utf8.encode(
      replacements.reduce((text, [from, to]) => text.replaceAll(from, to), content),
    );
  };
}

/** Steps that are undone by token, or that only touch a text's beginning. */
const steps = ['ByteLevel', 'ByteFallback', 'Fuse', 'Strip', 'Replace', 'Metaspace'];

function stepsOf(json: unknown): Json[] {
  if (!isObject(json)) return [];
  if (json.type === 'Sequence') return (json.decoders as unknown[]).flatMap(stepsOf);
  if (!steps.includes(String(json.type))) {
    throw new ModelError(`tokenizer.json has a decoder ${json.type}, which is not supported`);
  }
  return [json];
}

function replacementOf({ type, pattern, content, replacement }: Json): [string, string][] {
  if (type === 'Metaspace') return [[String(replacement ?? '▁'), ' ']];
  if (type !== 'Replace') return [];
  const from = isObject(pattern) ? pattern.String : undefined;
  if (typeof from !== 'string') {
    throw new ModelError('tokenizer.json has a decoder Replace of a pattern, not of a string');
  }
  return [[from, String(content ?? '')]];
}

/** Byte-level BPE writes bytes as printable characters: those of Latin-1, or from U+0100 on. */
const bytesOfLetters = new Map<string, number>();
for (let byte = 0, shifted = 0x100; byte < 256; byte++) {
  const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  bytesOfLetters.set(String.fromCharCode(printable ? byte : shifted++), byte);
}

function fromByteLetters(content: string): Uint8Array {
  const bytes = Array.from(content, (letter) => bytesOfLetters.get(letter));
  if (bytes.some((byte) => byte === undefined)) return utf8.encode(content);
  return Uint8Array.from(bytes as number[]);
}
