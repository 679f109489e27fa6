import fc from 'fast-check';
import { AnswerText, type TextOptions, type TextPiece } from '../../src/text/answer-text.js';
import { ids, loadModelText } from '../support/byte-text.mjs';

const { vocabulary } = await loadModelText('');
const bytesOf = (text: string): number[] => Array.from(new TextEncoder().encode(text));

/** The pieces of an answer of these tokens; its end too unless a stop string came first. */
function piecesOf(tokens: readonly number[], options: Partial<TextOptions> = {}): TextPiece[] {
  const text = new AnswerText(vocabulary, {
    ...{ stops: [], includeStop: false, showSpecial: false, minTokens: 0, logprobs: true },
    ...options,
  });
  const pieces: TextPiece[] = [];
  for (const token of tokens) {
    pieces.push(text.push({ token, logprob: -1, top: [] }));
    if (pieces.at(-1)?.stop !== undefined) return pieces;
  }
  return [...pieces, text.end()];
}

const joined = (pieces: readonly TextPiece[]): string => pieces.map(({ text }) => text).join('');
const entriesOf = (pieces: readonly TextPiece[]) => pieces.flatMap(({ entries }) => entries);

test('control tokens are no text, and are when asked for', () => {
  const tokens = [...bytesOf('a'), ids.end, ...bytesOf('b')];
  expect(joined(piecesOf(tokens))).toBe('ab');
  expect(joined(piecesOf(tokens, { showSpecial: true }))).toBe('a<|end|>b');
});

test('leading spaces of tokens stay, and no space is cleaned up', () => {
  expect(joined(piecesOf(bytesOf('  a ! b , c')))).toBe('  a ! b , c');
});

test('a token that completes no character is told with the one that does', () => {
  const pieces = piecesOf(bytesOf('é!'));
  expect(pieces.map(({ text, entries }) => [text, entries.length])).toEqual([
    ['', 0],
    ['é', 2],
    ['!', 1],
    ['', 0],
  ]);
});

test('tokens of text that a stop string holds back are told with the text', () => {
  const pieces = piecesOf(bytesOf('aSTb'), { stops: ['STOP'] });
  expect(pieces.map(({ text, entries }) => [text, entries.length])).toEqual([
    ['a', 1],
    ['', 0],
    ['', 0],
    ['STb', 3],
    ['', 0],
  ]);
});

test('tokens inside a stop string are as absent as its text', () => {
  const pieces = piecesOf(bytesOf('abSTOPc'), { stops: ['STOP'] });
  expect(joined(pieces)).toBe('ab');
  expect(entriesOf(pieces).map(({ token }) => token)).toEqual(['a', 'b']);
});

test('a token that a stop string begins inside is told', () => {
  const pieces = piecesOf([...bytesOf('a'), ids.word], { stops: ['rl'] });
  expect(joined(pieces)).toBe('awö');
  expect(entriesOf(pieces).map(({ token }) => token)).toEqual(['a', 'wörld']);
});

test('stop strings count for nothing before the least number of tokens', () => {
  expect(joined(piecesOf(bytesOf('a.b.c'), { stops: ['.'], minTokens: 2 }))).toBe('a.b');
});

test('probabilities have the raw bytes of each token, not those of replacement characters', () => {
  const [first, second] = entriesOf(piecesOf(bytesOf('é')));
  expect(first).toMatchObject({ token: '\ufffd', bytes: [0xc3] });
  expect(second).toMatchObject({ token: '\ufffd', bytes: [0xa9] });
});

test('a probability of zero is a number that JSON has', () => {
  const text = new AnswerText(vocabulary, {
    ...{ stops: [], includeStop: false, showSpecial: false, minTokens: 0, logprobs: true },
  });
  const top = [
    { token: 98, logprob: Number.NEGATIVE_INFINITY },
    { token: 99, logprob: -3 },
  ];
  const { entries } = text.push({ token: 97, logprob: Number.NEGATIVE_INFINITY, top });
  expect(entries[0].logprob).toBe(-9999);
  expect(entries[0].top.map(({ logprob }) => logprob)).toEqual([-9999, -3]);
});

test('offsets are where a token begins in the text', () => {
  const entries = entriesOf(piecesOf([...bytesOf('aé'), ids.word, ...bytesOf('!')]));
  expect(entries.map(({ offset }) => offset)).toEqual([0, 1, 1, 2, 7]);
});

test('whatever comes, each token is told once and with all of the text before the end', () => {
  const token = fc.integer({ min: 0, max: ids.word });
  fc.assert(
    fc.property(fc.array(token, { maxLength: 40 }), (tokens) => {
      const entries = entriesOf(piecesOf(tokens, { stops: ['\u0001\u0002\u0003\u0004'] }));
      expect(entries.map(({ bytes }) => bytes)).toEqual(
        tokens.map((each) => Array.from(vocabulary.bytes(each))),
      );
    }),
  );
});
