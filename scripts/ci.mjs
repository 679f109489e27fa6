// Every check of the project, one after the other; a failing one does not keep the rest from
// running. The last line sums up all runners: "N passed, N failed, N skipped". A jest step counts
// its tests, any other step counts as one; it is skipped when it says by its exit status that it
// cannot run here.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root, skipped } from './ensure-built.mjs';

const minutesOfStep = 15;

/** The path of nvcc, which only some machines have. */
const nvcc = ['nvcc', '/usr/local/cuda/bin/nvcc'].find(
  (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0,
);
const reports = mkdtempSync(path.join(tmpdir(), 'flash-attention-ci-'));
process.on('exit', () => rmSync(reports, { recursive: true, force: true }));

const unit = ['node_modules', 'test/pack\\.', 'test/numerics/'].map(
  (folder) => `--testPathIgnorePatterns=/${folder}`,
);
const steps = [
  { name: 'install and build', command: ['node', 'scripts/ensure-built.mjs'] },
  { name: 'types', command: ['npm', 'run', '--silent', 'typecheck'] },
  { name: 'lint', command: ['npm', 'run', '--silent', 'lint'] },
  { name: 'format', command: ['npm', 'run', '--silent', 'format:check'] },
  // One test file at a time, for some measure delays; but the numeric ones only compute.
  { name: 'unit tests', command: ['node', 'scripts/test.mjs', '--ci', '-i', ...unit], jest: true },
  {
    name: 'numeric tests',
    command: ['node', 'scripts/test.mjs', '--ci', '-w', '2', 'test/numerics/'],
    jest: true,
    minutes: 30,
  },
  { name: 'package', command: ['npm', 'run', '--silent', 'check:package'] },
  { name: 'pack test', command: ['npm', 'run', '--silent', 'test:pack', '--', '--ci'], jest: true },
  { name: 'binary', command: ['npm', 'run', '--silent', 'check:binary'] },
  { name: 'address sanitizer', command: ['npm', 'run', '--silent', 'test:asan'] },
  { name: 'thread sanitizer', command: ['npm', 'run', '--silent', 'test:tsan'] },
  { name: 'aarch64', command: ['npm', 'run', '--silent', 'test:aarch64', '--', '--install'] },
  { name: 'SIMT executor', command: ['npm', 'run', '--silent', 'test:simt-programs'] },
  {
    name: 'CUDA on the SIMT device',
    command: ['npm', 'run', '--silent', 'test:simt', '--', '--ci', '-w', '2'],
    jest: true,
    minutes: 40,
  },
  {
    name: 'CUDA on the SIMT device of sm_90',
    command: ['npm', 'run', '--silent', 'test:simt:sm90', '--', '--ci', '-w', '2'],
    jest: true,
    minutes: 40,
  },
  {
    name: 'CUDA kernels by nvcc',
    command: ['npm', 'run', '--silent', 'report:ptxas'],
    minutes: 40,
    missing: nvcc ? undefined : 'nvcc',
  },
  // A sample: docs/testing/mutations.md has the table of all of them.
  {
    name: 'mutations of the CUDA kernels',
    command: [
      ...['npm', 'run', '--silent', 'test:mutations', '--'],
      ...['--seeds', '9', '--first', '--every', '8'],
    ],
    minutes: 20,
  },
];

/** Resolves to the exit status of the command; undefined when it did not end in time. */
function statusOf([command, ...args], minutes) {
  return new Promise((resolve) => {
    // A process group of its own, so that a hanging step goes with all its children.
    const options = { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], detached: true };
    const child = spawn(command, args, options);
    const timer = setTimeout(() => {
      console.error(`ci: no end after ${minutes} minutes`);
      process.kill(-child.pid, 'SIGKILL');
    }, minutes * 60_000);
    const done = (status) => {
      clearTimeout(timer);
      resolve(status);
    };
    child.on('error', (error) => {
      console.error(`ci: ${command}: ${error.message}`);
      done(undefined);
    });
    child.on('exit', done);
  });
}

/**
 * What jest says it ran; a file that could not run, and a report that is not there, is a failure.
 */
function countTests(report, ok) {
  if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0 };
  const result = JSON.parse(readFileSync(report, 'utf8'));
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  return {
    passed: result.numPassedTests,
    failed: ok ? failed : Math.max(failed, 1),
    skipped: result.numPendingTests + result.numTodoTests,
  };
}

/** One step that is no jest run. */
const countStep = (status) => ({
  passed: status === 0 ? 1 : 0,
  failed: status === 0 || status === skipped ? 0 : 1,
  skipped: status === skipped ? 1 : 0,
});

const total = { passed: 0, failed: 0, skipped: 0 };
const lines = [];
for (const [index, { name, command, jest, minutes, missing }] of steps.entries()) {
  if (missing) {
    total.skipped += 1;
    lines.push(`skipped ${name}: there is no ${missing}`);
    continue;
  }
  console.log(`\n── ${name}: ${command.join(' ')}`);
  const report = path.join(reports, `${index}.json`);
  const started = Date.now();
  const whole = jest ? [...command, '--json', `--outputFile=${report}`] : command;
  const status = await statusOf(whole, minutes ?? minutesOfStep);
  const counts = jest ? countTests(report, status === 0) : countStep(status);
  for (const key of Object.keys(total)) total[key] += counts[key];
  const seconds = ((Date.now() - started) / 1000).toFixed(0);
  const { passed, failed } = counts;
  const verdict =
    failed > 0 ? 'FAILED ' : counts.skipped > 0 && passed === 0 ? 'skipped' : 'ok     ';
  lines.push(
    `${verdict} ${name}: ${passed} passed, ${failed} failed, ${counts.skipped} skipped (${seconds} s)`,
  );
}

console.log(`\n${lines.join('\n')}`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 ? 1 : 0;
