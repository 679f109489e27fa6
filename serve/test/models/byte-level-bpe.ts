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

/**
 * The most frequent pairs of neighbours, each merged before the next is counted (Sennrich et al.
 * 2016).
 */
function learnMerges(text: string, most: number): [string, string][] {
  const letters = byteLetters();
  const times = new Map<string, number>();
  for (const [word] of text.matchAll(new RegExp(pattern, 'gu'))) {
    times.set(word, (times.get(word) ?? 0) + 1);
  }
  const words = Array.from(times, ([word, count]) => ({
    count,
    pieces: Array.from(new TextEncoder().encode(word), (byte) => letters[byte]),
  }));
  const merges: [string, string][] = [];
  while (merges.length < most) {
    const counts = new Map<string, number>();
    for (const { pieces, count } of words) {
      for (let i = 1; i < pieces.length; i++) {
        const pair = `${pieces[i - 1]} ${pieces[i]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + count);
      }
    }
    const [best] = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    if (best === undefined) break;
    const [left, right] = best[0].split(' ');
    merges.push([left, right]);
    for (const { pieces } of words) {
      for (let i = 1; i < pieces.length; i++) {
        if (pieces[i - 1] === left && pieces[i] === right) pieces.splice(i - 1, 2, left + right);
      }
    }
  }
  return merges;
}

/** What {@link byteLevelBpe} makes. */
export interface BpeOptions {
  /** Tokens. */
  readonly vocab: number;
  /** The most of them that a text decides on. Default: all. */
  readonly learnt?: number;
  /** They have the first ids. */
  readonly specialTokens: readonly string[];
  /** The special token that it puts before every text, if any. */
  readonly bos?: string;
}

/** A byte-level BPE tokenizer, learnt from a text, as tokenizer.json has it. */
export function byteLevelBpe(text: string, options: BpeOptions): object {
  const { vocab, learnt = vocab, specialTokens, bos } = options;
  const letters = byteLetters();
  const merges = learnMerges(text, learnt - specialTokens.length - letters.length);
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
    post_processor: bos === undefined ? null : beginWith(bos, specialTokens.indexOf(bos)),
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

function beginWith(token: string, id: number): object {
  return {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: token, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
  };
}
