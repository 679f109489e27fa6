import fc from 'fast-check';
import { Utf8Stream } from '../../src/text/utf8-stream.js';

/** What the stream gives for each piece, and at its end. */
function decode(pieces: readonly (readonly number[])[]): string[] {
  const stream = new Utf8Stream();
  return [...pieces.map((piece) => stream.push(Uint8Array.from(piece))), stream.end()];
}

const bytesOf = (text: string): number[] => Array.from(new TextEncoder().encode(text));

test('a character whose bytes come one by one is shown once, when it is complete', () => {
  expect(decode(bytesOf('日').map((byte) => [byte]))).toEqual(['', '', '日', '']);
  expect(decode(bytesOf('🙂').map((byte) => [byte]))).toEqual(['', '', '', '🙂', '']);
});

test('characters without spaces between them are not held', () => {
  expect(decode(['你', '好', '吗'].map(bytesOf))).toEqual(['你', '好', '吗', '']);
});

test('spaces and a byte order mark stay', () => {
  expect(decode([[0x20], [0xef, 0xbb, 0xbf], [0x20, 0x20]])).toEqual([' ', '\ufeff', '  ', '']);
});

test('an incomplete character is flushed at the end', () => {
  expect(decode([[0xe6, 0x97]])).toEqual(['', '\ufffd']);
});

test('bytes that can never become a character are not held', () => {
  expect(decode([[0xff]])).toEqual(['\ufffd', '']);
  expect(decode([[0xc0]])).toEqual(['\ufffd', '']);
  expect(decode([[0xe0, 0x80]])).toEqual(['\ufffd\ufffd', '']);
  expect(decode([[0xed, 0xa0]])).toEqual(['\ufffd\ufffd', '']);
});

test('however bytes are cut into pieces, the text is that of all of them', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 24 }).map((each) => Array.from(each)),
    fc.string({ unit: 'binary' }).map(bytesOf),
  );
  fc.assert(
    fc.property(bytes, fc.array(fc.nat(4), { maxLength: 24 }), (all, lengths) => {
      const rest = [...all];
      const pieces = [...lengths.map((length) => rest.splice(0, length)), rest];
      const expected = new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(all));
      expect(decode(pieces).join('')).toBe(expected);
    }),
  );
});
