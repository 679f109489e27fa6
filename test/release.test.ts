// What a release needs of the repository: one version, and words for it.
import { readFileSync } from 'node:fs';
// @ts-expect-error: plain JavaScript
import { architectures, attentionKernelsOf, sizesOf } from '../scripts/binary/gpu-code.mjs';
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

test('a release has code for every generation of GPUs that the kernels know', () => {
  const known = ['compute_90', 'sm_80', 'sm_86', 'sm_90', 'sm_90a'];
  expect(architectures()).toEqual(known);
});

/** A part of a fat binary, as nvcc writes it, of 64 bytes and its content. */
function fatbinEntry(kind: number, arch: number, bytes: number, flags = 0, unpacked = 0): Buffer {
  const entry = Buffer.alloc(64 + bytes);
  entry.writeUInt16LE(kind, 0);
  entry.writeUInt32LE(64, 4);
  entry.writeBigUInt64LE(BigInt(bytes), 8);
  entry.writeUInt32LE(unpacked > 0 ? bytes - 1 : 0, 16);
  entry.writeUInt32LE(arch, 28);
  entry.writeUInt32LE(flags, 40);
  entry.writeBigUInt64LE(BigInt(unpacked), 56);
  return entry;
}

function fatbin(...entries: Buffer[]): Buffer {
  const content = Buffer.concat(entries);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(0xba55ed50, 0);
  header.writeUInt16LE(1, 4);
  header.writeUInt16LE(16, 6);
  header.writeBigUInt64LE(BigInt(content.length), 8);
  return Buffer.concat([header, content]);
}

test('the code of each GPU is found in the fat binaries of a section', () => {
  const forHopper = 0x108011;
  const section = Buffer.concat([
    fatbin(fatbinEntry(1, 80, 16, 0x8011, 900), fatbinEntry(2, 80, 24, 0x11)),
    Buffer.alloc(8),
    fatbin(fatbinEntry(2, 90, 32, forHopper, 500), fatbinEntry(2, 80, 8, 0x8011, 100)),
  ]);
  expect([...sizesOf(section)]).toEqual([
    ['compute_80', { packed: 16, unpacked: 900 }],
    ['sm_80', { packed: 32, unpacked: 124 }],
    ['sm_90a', { packed: 32, unpacked: 500 }],
  ]);
  expect(sizesOf(Buffer.of()).size).toBe(0);
});

test('attention kernels of every module of PTX', () => {
  const module = (...symbols: string[]) => {
    const text = symbols.map((symbol) => `.visible .entry ${symbol}(\n`).join('');
    const entry = fatbinEntry(1, 80, text.length + (8 - (text.length % 8)));
    entry.write(text, 64);
    return fatbin(entry);
  };
  const kernels = ['_ZN2fa4cuda4sm807forwardILi32EEEvv', '_ZN2fa4cuda4sm808decodeILi32EEEvv'];
  const others = ['_ZN2fa4cuda13convert_kernelEv', '_ZN2fa4cuda4sm9016query_sum_kernelEv'];
  const section = Buffer.concat([
    fatbin(fatbinEntry(2, 80, 24)),
    module(...kernels),
    module(...others),
    module(kernels[0] as string),
  ]);
  expect(attentionKernelsOf(section)).toEqual([kernels, [], [kernels[0]]]);
});
