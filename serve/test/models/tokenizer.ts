/** Text that the tokenizer's merges come from. */
const text = `The server reads a question and writes an answer, one token after the other. A token is a
piece of a word, or a whole word with the space before it. The cache keeps what was read, so that
nothing is read twice. Numbers such as 10, 128 and 2048 are read digit by digit. A sentence ends
with a full stop; a question ends with a question mark. Where is the answer? The answer is here.`;

/** Tokens that stand for themselves, in the order of their ids. */
export const specialTokens = [
  '<|endoftext|>',
  '<|im_start|>',
  '<|im_end|>',
  '<|begin_of_text|>',
] as const;

/** What of ids the models of {@link writeTestModel} end and begin with. */
export const specialIds = { endOfText: 0, imStart: 1, imEnd: 2, beginOfText: 3 } as const;

/** Bytes as printable characters, as GPT-2's byte-level BPE writes them. */
function byteLetters(): string[] {
  const printable = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  let unprintable = 0;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCodePoint(printable(byte) ? byte : 256 + unprintable++),
  );
}

const pattern =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** The most frequent pairs of neighbours, each merged before the next is counted. */
function learnMerges(count: number): [string, string][] {
  const letters = byteLetters();
  const words = Array.from(text.matchAll(new RegExp(pattern, 'gu')), ([word]) =>
    Array.from(new TextEncoder().encode(word), (byte) => letters[byte]),
  );
  const merges: [string, string][] = [];
  while (merges.length < count) {
    const counts = new Map<string, number>();
    for (const word of words) {
      for (let i = 1; i < word.length; i++) {
        const pair = `${word[i - 1]} ${word[i]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const [best] = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    const [left, right] = best[0].split(' ');
    merges.push([left, right]);
    for (const word of words) {
      for (let i = 1; i < word.length; i++) {
        if (word[i - 1] === left && word[i] === right) word.splice(i - 1, 2, left + right);
      }
    }
  }
  return merges;
}

/** A byte-level BPE tokenizer of `vocab` tokens, as tokenizer.json has it. It adds BOS. */
export function buildTokenizer(vocab: number): object {
  const letters = byteLetters();
  const merges = learnMerges(Math.min(vocab, 384) - specialTokens.length - letters.length);
  const tokens = [...specialTokens, ...letters, ...merges.map((pair) => pair.join(''))];
  // No text is made of the rest, but every id has a text.
  for (let id = tokens.length; id < vocab; id++) tokens.push(`<${id}>`);
  const special = (content: string, id: number) => ({
    ...{ id, content, single_word: false, lstrip: false, rstrip: false },
    ...{ normalized: false, special: true },
  });
  const byteLevel = {
    type: 'ByteLevel',
    add_prefix_space: false,
    trim_offsets: true,
    use_regex: false,
  };
  const { beginOfText } = specialIds;
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map(special),
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false },
        byteLevel,
      ],
    },
    post_processor: {
      type: 'TemplateProcessing',
      single: [
        { SpecialToken: { id: '<|begin_of_text|>', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
      ],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: {
        '<|begin_of_text|>': {
          id: '<|begin_of_text|>',
          ids: [beginOfText],
          tokens: ['<|begin_of_text|>'],
        },
      },
    },
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}

/** Roles in turn, one optional system message first; begins with BOS. */
export const chatTemplate = `{{- bos_token }}
{%- for message in messages %}
{%- if message.role not in ['system', 'user', 'assistant', 'tool'] %}
{{- raise_exception('Unknown role: ' + message.role) }}
{%- endif %}
{%- if message.role == 'system' and not loop.first %}
{{- raise_exception('System message must be at the beginning.') }}
{%- endif %}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') | trim + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
`;
