// scripts/mutate.mjs puts mistakes into the CUDA kernels. Here, without compiling anything: each
// still applies, and the table of docs/testing/mutations.md knows it.
import { readFileSync } from 'node:fs';
import path from 'node:path';
// @ts-expect-error: plain JavaScript
import { readRows } from '../../scripts/mutations-page.mjs';
import { type Mutation, mutations } from './mutations.mjs';

const nameOf = ({ kernel, fault }: Mutation) => `${kernel}: ${fault}`;

test('no two have the same name', () => {
  expect(new Set(mutations.map(nameOf)).size).toBe(mutations.length);
});

test('the passage of each stands once in its file, and changes', () => {
  const texts = new Map<string, string>();
  const wrong = mutations.filter(({ file, from, to }) => {
    const text = texts.get(file) ?? readFileSync(path.join('csrc', file), 'utf8');
    texts.set(file, text);
    return text.split(from).length !== 2 || from === to;
  });
  expect(wrong.map((one) => `${nameOf(one)} in ${one.file}`)).toEqual([]);
});

test('the table has each of them and no other', () => {
  expect([...readRows().keys()]).toEqual(mutations.map(nameOf));
});
