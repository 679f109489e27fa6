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

test('the stop string that is complete first ends the text, of two the longer', () => {
  for (const pieces of [['baa'], ['ba', 'a'], ['b', 'a', 'a']]) {
    expect(show(pieces, ['baa', 'a']).join('')).toBe('b');
  }
  expect(show(['xba'], ['a', 'ba'])).toEqual(['x']);
});

/** The text, character by character, until a stop string is complete. */
function untilStop(text: string, stops: readonly string[]): string {
  for (let end = 1; end <= text.length; end++) {
    const complete = stops.filter((stop) => text.slice(0, end).endsWith(stop));
    if (complete.length > 0) {
      return text.slice(0, end - Math.max(...complete.map((stop) => stop.length)));
    }
  }
  return text;
}

test('however a text is cut into pieces, what is shown ends before the first stop string', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 30 });
  const stop = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 4 });
  const stops = fc.array(stop, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(letters), stops, (pieces, given) => {
      expect(show(pieces, given).join('')).toBe(untilStop(pieces.join(''), given));
    }),
  );
});
