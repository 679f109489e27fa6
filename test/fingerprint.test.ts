// scripts/fingerprint.mjs: what makes a table of docs/ stale.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
// @ts-expect-error: plain JavaScript
import { closureOf, fingerprint } from '../scripts/fingerprint.mjs';

let folder = '';
const file = (name: string) => path.relative('.', path.join(folder, name));
const write = (name: string, text: string) => writeFileSync(path.join(folder, name), text);
const hash = (...flags: string[]) => fingerprint(closureOf([file('a.cu')]), ...flags);

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-fingerprint-'));
  write('a.cu', '#include "b.h"\n#include "of/others.h"\n#include <cstdio>\nint a = B;  // one\n');
  write('b.h', '#include "c.h"\n#define B "1 // 2"\n');
  write('c.h', '#include "b.h"\n');
  write('unrelated.h', 'int x;\n');
});
afterEach(() => rmSync(folder, { recursive: true }));

test('a source comes with all that it includes, once', () => {
  expect(closureOf([file('a.cu')])).toEqual(['a.cu', 'b.h', 'c.h'].map(file));
  const leaveOut = (name: string) => name.endsWith('c.h');
  expect(closureOf([file('a.cu')], { leaveOut })).toEqual(['a.cu', 'b.h'].map(file));
});

test('comments, white space and other files do not count', () => {
  const before = hash();
  write(
    'a.cu',
    '#include "b.h"\n#include "of/others.h"\n\n#include <cstdio>\nint a =\n  B; /* 2 */',
  );
  write('unrelated.h', 'int y;\n');
  expect(hash()).toBe(before);
  expect(before).toMatch(/^[0-9a-f]{12}$/);
});

test.each([
  ['the source', () => write('a.cu', '#include "b.h"\nint a = B + B;\n')],
  ['a header of a header', () => write('c.h', '#include "b.h"\nint c;\n')],
  [
    'what looks like a comment in a string',
    () => write('b.h', '#include "c.h"\n#define B "1 // 3"\n'),
  ],
])('%s counts', (_what, change) => {
  const before = hash();
  change();
  expect(hash()).not.toBe(before);
});

test('flags count', () => {
  expect(hash('-O2')).not.toBe(hash('-O3'));
});
