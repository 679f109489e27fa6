// scripts/gpu-check without a GPU: what it packs runs, and its steps hang together. No figure of it means anything.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { jest } from '@jest/globals';
import { findAddon } from '../lib/cli/addon-file.js';

jest.setTimeout(120_000);

const root = path.resolve(import.meta.dirname, '..');
const folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-gpu-'));
const carry = path.join(folder, 'carry');
const addon = findAddon()?.path as string;
const env = { ...process.env, FLASH_ATTENTION_ADDON: addon, FLASH_ATTENTION_DEVICE: 'cpu' };
const run = (command: string, args: string[]) =>
  spawnSync(command, args, { cwd: root, env, encoding: 'utf8' });

beforeAll(() => {
  const packed = run(process.execPath, ['scripts/gpu/pack.mjs', '--no-node', '--out', carry]);
  expect(packed).toMatchObject({ status: 0 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the packed tests', () => {
  const tests = (...args: string[]) =>
    run(process.execPath, [path.join(carry, 'check/tests.mjs'), ...args]);

  test('run without jest', () => {
    const json = path.join(folder, 'tests.json');
    const { status, stdout } = tests(
      '--filter',
      'MHA › 1 queries, 1 keys|index-tensors',
      '--json',
      json,
    );
    expect(stdout).toMatch(/^8 passed, 0 failed, 0 skipped$/m);
    expect(status).toBe(0);
    const { passed, results } = JSON.parse(readFileSync(json, 'utf8'));
    expect({ passed, results: results.length }).toEqual({ passed: 8, results: 8 });
  });

  test('are not said to pass when none ran', () => {
    expect(tests('--filter', 'no such test').status).toBe(1);
  });

  test('are all of them', () => {
    const bundle = readFileSync(path.join(carry, 'check/tests.mjs'), 'utf8');
    for (const where of ['test/numerics', 'test/device']) {
      for (const file of readdirSync(path.join(root, where))) expect(bundle).toContain(file);
    }
  });
});

test('has the headers that a build needs', () => {
  for (const file of ['node-api-headers/node_api.h', 'node-addon-api/napi.h']) {
    expect(existsSync(path.join(carry, 'headers', file))).toBe(true);
  }
});

test('the small set of calls for compute-sanitizer runs', () => {
  const { status, stdout } = run(process.execPath, [path.join(carry, 'check/small-set.mjs')]);
  expect({ status, stdout }).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('have run'),
  });
});

test('steps leave their results, and a failed one is said to have failed', () => {
  const out = path.join(folder, 'out');
  const options = [
    '--device',
    'cpu',
    '--addon',
    addon,
    '--carry',
    carry,
    '--node',
    process.execPath,
  ];
  const { status, stdout } = run('scripts/gpu-check', [
    ...options,
    '--only',
    'bench',
    '--out',
    out,
  ]);
  expect(stdout).toContain('say nothing about');
  expect(status).toBe(0);
  const { steps, bench } = JSON.parse(readFileSync(path.join(out, 'gpu-check.json'), 'utf8'));
  expect(steps).toMatchObject([{ step: 'bench', status: 0 }]);
  expect(bench.rehearsal).toBe(true);
  expect(bench.results.length).toBeGreaterThan(1);

  const broken = run('scripts/gpu-check', [
    ...options.slice(0, 3),
    path.join(folder, 'gone.node'),
    ...options.slice(4),
    ...['--only', 'bench', '--out', out],
  ]);
  expect(broken.status).toBe(1);
  expect(broken.stdout).toMatch(/^FAILED bench/m);
});
