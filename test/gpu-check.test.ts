// scripts/gpu-check without a GPU: what it packs runs, and its steps hang together. No figure of it
// means anything.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { jest } from '@jest/globals';
import { findAddon } from '../lib/native/binding.js';

jest.setTimeout(120_000);

const root = path.resolve(import.meta.dirname, '..');
const folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-gpu-'));
const carry = path.join(folder, 'carry');
const addon = findAddon()?.path as string;
const env = { ...process.env, FLASH_ATTENTION_ADDON: addon, FLASH_ATTENTION_DEVICE: 'cpu' };
interface Result {
  name: string;
  outcome: string;
  error?: string;
}
const readResults = (file: string) =>
  readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Result);
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
    const file = path.join(folder, 'results.jsonl');
    const filter = 'MHA › 1 queries, 1 keys|index-tensors';
    const { status, stdout } = tests('--filter', filter, '--results', file);
    expect(stdout).toMatch(/^8 passed, 0 failed, 0 skipped$/m);
    expect(status).toBe(0);
    expect(readResults(file).map(({ outcome }) => outcome)).toEqual(Array(8).fill('passed'));
  });

  test('run one file', () => {
    const { stdout } = tests('--file', 'merge.test.ts');
    expect(stdout).toMatch(/^7 passed, 0 failed, 0 skipped$/m);
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

describe('tests that go wrong', () => {
  const runTests = (...args: string[]) =>
    run(process.execPath, [path.join(folder, 'wrong/tests.mjs'), ...args]);

  beforeAll(() => {
    const script = `
      import { bundle } from './scripts/gpu/bundle.mjs';
      await bundle({ tests: 'test/fixtures/gpu-tests.ts' }, ${JSON.stringify(path.join(folder, 'wrong'))});`;
    const bundled = run(process.execPath, ['--input-type=module', '--eval', script]);
    expect(bundled).toMatchObject({ status: 0, stderr: '' });
  });

  test('fail alone', () => {
    const file = path.join(folder, 'wrong.jsonl');
    const { status, stdout } = runTests('--results', file, '--seconds', '20');
    expect(status).toBe(1);
    expect(stdout).toMatch(/^10 passed, 6 failed, 1 skipped$/m);
    expect(stdout).toContain('fine.test.ts › is left out');
    const failures = readResults(file).filter(({ outcome }) => outcome === 'failed');
    const reasons = Object.fromEntries(failures.map(({ name, error }) => [name, error as string]));
    const late = 'took longer than 20 s';
    const crash = 'its process ended: SIGSEGV';
    expect(reasons).toEqual({
      'hangs.test.ts › hangs': late,
      'crashes.test.ts › crashes': crash,
      'breaks.test.ts › breaks the device': expect.stringContaining('cannot be used again'),
      'does-not-load.test.ts › what precedes its tests': crash,
      'does-not-end.test.ts › the end of its process': late,
      'talks.test.ts › says much': expect.stringMatching(/^Error: x{1000}/),
    });
    expect(reasons['talks.test.ts › says much'].length).toBeLessThanOrEqual(2000);
  });

  test('tell what has run when there is no time for all', async () => {
    const file = path.join(folder, 'late.jsonl');
    const tests = [path.join(folder, 'wrong/tests.mjs'), '--file', 'hangs.test.ts'];
    // As `timeout` does it: to the whole group.
    const hangsNow = path.join(folder, 'hangs-now');
    const options = { env: { ...env, HANGS_NOW: hangsNow }, detached: true };
    const running = spawn(process.execPath, [...tests, '--results', file], options);
    const ended = once(running, 'exit');
    while (!existsSync(hangsNow)) await setTimeout(50);
    process.kill(-(running.pid as number), 'SIGTERM');
    expect(await ended).toEqual([1, null]);
    const results = readResults(file);
    expect(results).toContainEqual(
      expect.objectContaining({ name: 'hangs.test.ts › hangs', error: 'out of time' }),
    );
    expect(results.at(-1)).toMatchObject({ error: expect.stringContaining('not all of these') });
  });
});

test('has the headers that a build needs', () => {
  for (const file of ['node-api-headers/node_api.h', 'node-addon-api/napi.h']) {
    expect(existsSync(path.join(carry, 'headers', file))).toBe(true);
  }
});

test.each(['forward', 'backward'])(
  'the %s half of the calls for compute-sanitizer runs',
  (half) => {
    const { status, stdout } = run(process.execPath, [
      path.join(carry, 'check/small-set.mjs'),
      half,
    ]);
    expect({ status, stdout }).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('calls have run'),
    });
  },
);

test('a benchmark goes on when its process dies', () => {
  const out = path.join(folder, 'bench');
  mkdirSync(out);
  const server = path.join(root, 'test/fixtures/gpu-bench-server.cjs');
  const command = ['scripts/gpu/bench.py', '--node', process.execPath, '--server', server];
  expect(run('python3', [...command, '--out', out]).status).toBe(1);
  const report = () => JSON.parse(readFileSync(path.join(out, 'bench.json'), 'utf8'));
  expect(report().results).toMatchObject([
    { shape: { kind: 'forward' }, errors: { ours: 'the process has ended' } },
    { shape: { kind: 'backward' }, errors: {}, milliseconds: { ours: 1 } },
  ]);

  const { status, stdout } = run('python3', [...command, '--out', out, '--seconds', '0']);
  expect({ status, stdout }).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('2 shapes were left out'),
  });
  expect(report()).toMatchObject({ results: [], leftOut: [{}, {}] });
});

test('a file that was cut off does not hide the others', () => {
  const out = path.join(folder, 'cut');
  mkdirSync(out);
  const passed = '{"name": "a", "outcome": "passed", "milliseconds": 1}';
  writeFileSync(
    path.join(out, 'steps.jsonl'),
    '{"step": "tests", "status": 124, "seconds": 240}\n{"st',
  );
  writeFileSync(path.join(out, 'tests.jsonl'), `${passed}\n{"name": "b`);
  writeFileSync(path.join(out, 'bench.json'), '{"results": [');
  const { status, stdout } = run('python3', ['scripts/gpu/summary.py', out, 'cuda:0']);
  expect({ status, stdout }).toEqual({
    status: 0,
    stdout: 'TOO LONG tests (240 s)\n1 passed, 0 failed, 0 skipped\n',
  });
  expect(JSON.parse(readFileSync(path.join(out, 'gpu-check.json'), 'utf8'))).toMatchObject({
    tests: { passed: 1 },
    bench: { unreadable: expect.any(String) },
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
  expect(broken.stdout).toMatch(/^FAILED +bench/m);
});
