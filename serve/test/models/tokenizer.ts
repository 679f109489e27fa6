import { byteLevelBpe } from './byte-level-bpe.js';

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

/** A byte-level BPE tokenizer of `vocab` tokens, as tokenizer.json has it. It adds BOS. */
export function buildTokenizer(vocab: number): object {
  const bos = specialTokens[specialIds.beginOfText];
  return byteLevelBpe(text, { vocab, learnt: Math.min(vocab, 384), specialTokens, bos });
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
