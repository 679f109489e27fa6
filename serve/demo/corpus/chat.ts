import type { ModelText } from '../../src/text/contract.js';
import { byteLevelBpe } from '../../test/models/byte-level-bpe.js';
import type { Batch } from '../decoder/decoder.js';
import { Random } from '../random.js';
import { drawDialogue, type Split, type Turn } from './dialogue.js';

/** Tokens that stand for themselves, in the order of their ids. */
export const specialTokens = ['<|end|>', '<|user|>', '<|assistant|>'] as const;
const [end, user, assistant] = specialTokens.keys();
export const endToken = end;

/** Renders what {@link encodeDialogue} encodes. */
export const chatTemplate = `{%- for message in messages %}
{%- if message.role not in ['user', 'assistant'] %}
{{- raise_exception('The demo model knows users and assistants alone, not the role ' + message.role + '.') }}
{%- endif %}
{{- '<|' + message.role + '|>' + (message.content or '') | trim + '<|end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|assistant|>' }}
{%- endif %}
`;

/** A tokenizer.json of at most `vocab` tokens, learnt from dialogues. */
export function learnTokenizer(vocab: number, seed: number): object {
  const random = new Random(seed);
  const turns = Array.from({ length: 5000 }, () => drawDialogue(random, 'training')).flat();
  const text = turns.map((turn) => `${turn.user}\n${turn.assistant}\n`).join('');
  return byteLevelBpe(text, { vocab, specialTokens });
}

type Encode = ModelText['encode'];

/** Tokens, and which of them are an answer's, its end included. */
interface Encoded {
  readonly tokens: number[];
  readonly answered: boolean[];
}

function encodeTurn(turn: Turn, encode: Encode): Encoded {
  const said = [user, ...encode(turn.user), end, assistant];
  const answer = [...encode(turn.assistant), end];
  return {
    tokens: [...said, ...answer],
    answered: [...said.map(() => false), ...answer.map(() => true)],
  };
}

/** As many turns of a dialogue as the context holds. */
function encodeDialogue(turns: readonly Turn[], encode: Encode, context: number): Encoded {
  const result: Encoded = { tokens: [], answered: [] };
  for (const turn of turns) {
    const { tokens, answered } = encodeTurn(turn, encode);
    if (result.tokens.length + tokens.length > context) break;
    result.tokens.push(...tokens);
    result.answered.push(...answered);
  }
  return result;
}

/** Dialogues until they have so many tokens; answers are what is to be foretold. */
export function drawBatch(
  random: Random,
  split: Split,
  encode: Encode,
  { tokens: wanted, context }: { tokens: number; context: number },
): Batch {
  const tokens: number[] = [];
  const cuSeqlens = [0];
  const rows: number[] = [];
  while (tokens.length < wanted) {
    const dialogue = encodeDialogue(drawDialogue(random, split), encode, context);
    dialogue.answered.forEach((answered, i) => {
      if (answered) rows.push(tokens.length + i - 1);
    });
    tokens.push(...dialogue.tokens);
    cuSeqlens.push(tokens.length);
  }
  return {
    tokens: Int32Array.from(tokens),
    cuSeqlens: Int32Array.from(cuSeqlens),
    rows: Int32Array.from(rows),
    targets: Int32Array.from(rows, (row) => tokens[row + 1]),
  };
}
