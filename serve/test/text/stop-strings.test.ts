import fc from 'fast-check';
import { StopStrings } from '../../src/text/stop-strings.js';

/** What is shown of each piece up to the stop, and what remains at the end. */
function show(pieces: readonly string[], stops: readonly string[], include = false): string[] {
  const matcher = new StopStrings(stops, include);
  const shown: string[] = [];
  for (const piece of pieces) {
    const { text, stop } = matcher.push(piece);
    shown.push(text);
    if (stop !== undefined) return shown;
  }
  return [...shown, matcher.end()];
}

test('a stop string across pieces is found and never leaks in parts', () => {
  expect(show(['one S', 'T', 'OP two'], ['STOP'])).toEqual(['one ', '', '']);
});

test('only the longest end that a stop string begins with is held', () => {
  expect(show(['abc', 'd', '\n', '\n'], ['\n\nHuman:'])).toEqual(['abc', 'd', '', '', '\n\n']);
  expect(show(['xaab', 'c'], ['aabaa'])).toEqual(['x', 'aabc', '']);
  expect(show(['aa', 'ab'], ['aab'])).toEqual(['', 'a']);
});

test('held text that becomes no stop string is shown', () => {
  expect(show(['ST', 'ART'], ['STOP'])).toEqual(['', 'START', '']);
});

test('held text is flushed at the end', () => {
  expect(show(['the ST'], ['STOP'])).toEqual(['the ', 'ST']);
});

test('the first of several stop strings ends the text', () => {
  expect(show(['a b c'], ['c', 'b'])).toEqual(['a ']);
});

test('the stop string is shown when asked for', () => {
  expect(show(['one S', 'TOP two'], ['STOP'], true)).toEqual(['one ', 'STOP']);
});

test('however a text is cut into pieces, what is shown ends before the first stop string', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 30 });
  const stop = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 4 });
  const stops = fc.array(stop, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(letters), stops, (pieces, given) => {
      const all = pieces.join('');
      const found = given.map((each) => all.indexOf(each)).filter((index) => index >= 0);
      const expected = found.length > 0 ? all.slice(0, Math.min(...found)) : all;
      expect(show(pieces, given).join('')).toBe(expected);
    }),
  );
});
