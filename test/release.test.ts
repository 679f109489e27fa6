// What a release needs of the repository: one version, and words for it.
import { readFileSync } from 'node:fs';
// @ts-expect-error: plain JavaScript
import { entryOf } from '../scripts/release/changelog.mjs';
// @ts-expect-error: plain JavaScript
import { findPrebuilds } from '../scripts/release/prebuilds.mjs';

const json = (name: string) => JSON.parse(readFileSync(name, 'utf8'));
const { version } = json('package.json');
const changelog = readFileSync('CHANGELOG.md', 'utf8');

test('the lock file has the version of the package', () => {
  const lock = json('package-lock.json');
  expect([lock.version, lock.packages[''].version]).toEqual([version, version]);
});

test('the changelog has this version, with its date', () => {
  const entry = entryOf(changelog, version);
  expect(entry.date).toMatch(/^\d{4}-\d{2}-\d{2}$/);
  expect(entry.notes).toMatch(/^### (Added|Changed|Fixed|Removed|Deprecated|Security)\n/);
});

test('a section ends where the next begins', () => {
  const text =
    '# Changelog\n\n## [Unreleased]\n\n## [1.1.0] - 2026-01-02\n\nnew\n\n## [1.1.0-rc] - 2025-12-31\n\nold\n';
  expect(entryOf(text, '1.1.0')).toEqual({ date: '2026-01-02', notes: 'new' });
  expect(entryOf(text, '1.1.0-rc')).toEqual({ date: '2025-12-31', notes: 'old' });
  expect(entryOf(text, 'Unreleased')).toEqual({ date: undefined, notes: '' });
  expect(entryOf(text, '1.2.0')).toBeUndefined();
});

test('versions of the changelog go down', () => {
  const versions = [...changelog.matchAll(/^## \[(\d+)\.(\d+)\.(\d+)\]/gm)].map(([, ...parts]) =>
    parts.reduce((sum, part) => sum * 1000 + Number(part), 0),
  );
  expect(versions).toEqual([...versions].sort((a, b) => b - a));
});

test('a release has seven binaries, each under its own name', () => {
  const names = findPrebuilds().map(({ name }: { name: string }) => name);
  expect(new Set(names).size).toBe(7);
});
