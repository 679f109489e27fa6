// Every check of the project, one after the other. The cheap ones come first and end the run when
// they fail; of the others a failing one does not keep the rest from running. The last line sums up
// all runners: "N passed, N failed, N skipped". A jest step counts its tests, any other step counts
// as one; it is skipped when it says by its exit status that it cannot run here. The sum is printed
// whatever happens: a step that hangs is ended, and so is the run when its time is over.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { skipped } from './ensure-built.mjs';
import { runStep } from './run-step.mjs';

const minutesOfStep = 15;
/** Of all steps together. Where this runs it has 90 minutes, and is ended then without a word. */
const minutesOfRun = 80;

const reports = mkdtempSync(path.join(tmpdir(), 'flash-attention-ci-'));
process.on('exit', () => rmSync(reports, { recursive: true, force: true }));

const npm = (...args) => ['npm', 'run', '--silent', ...args];
/** Machine code for every GPU takes too long for each run; ptxas has a step of its own. */
const ptxOnly = { FLASH_ATTENTION_PTX_ONLY: '1' };
const noTime = ['--seconds', '0.001', '--patience', '0'];
const steps = [
  { name: 'install', command: ['node', 'scripts/ensure-built.mjs', '--install'], cheap: true },
  { name: 'types', command: npm('typecheck'), cheap: true },
  { name: 'lint', command: npm('lint'), cheap: true },
  { name: 'format', command: npm('format:check'), cheap: true },
  // The binary of the package, with CUDA where nvcc is: it is what the tests run from here on.
  { name: 'prebuilt binary', command: npm('prebuild'), env: ptxOnly, minutes: 20 },
  { name: 'build', command: ['node', 'scripts/ensure-built.mjs'] },
  { name: 'clang-tidy', command: npm('lint:native', '--', '--install') },
  { name: 'tests', command: npm('test', '--', '--ci'), jest: true, minutes: 20 },
  { name: 'visualiser', command: npm('test:viz', '--', '--install', '--ci'), jest: true },
  // Builds it, and follows every link of it.
  { name: 'docs site', command: npm('test:site', '--', '--install', '--ci'), jest: true },
  { name: 'server types', command: npm('test:serve', '--', '--types') },
  { name: 'server', command: npm('test:serve', '--', '--install', '--ci'), jest: true },
  { name: 'package', command: npm('check:package') },
  { name: 'pack test', command: npm('test:pack', '--', '--ci'), jest: true, env: ptxOnly },
  { name: 'binary', command: ['node', 'scripts/check-binary.mjs'] },
  { name: 'address sanitizer', command: npm('test:asan') },
  { name: 'thread sanitizer', command: npm('test:tsan') },
  { name: 'instructions of the CPU kernels', command: npm('report:instructions') },
  // That all of bench/ compiles and runs: its native part has kernels of its own.
  {
    name: 'benchmark',
    command: npm('bench', '--', '--quick', '--no-peers', '--rounds', '1', ...noTime),
  },
  { name: 'aarch64', command: npm('test:aarch64', '--', '--install') },
  { name: 'SIMT executor', command: npm('test:simt-programs') },
  {
    name: 'CUDA on the SIMT device',
    command: npm('test:simt', '--', '--ci'),
    jest: true,
    minutes: 30,
  },
  {
    name: 'the server on the SIMT device',
    command: npm('test:serve', '--', '--device', 'simt:sm80', '--ci'),
    jest: true,
  },
  {
    name: 'CUDA on the SIMT device of sm_86',
    command: npm('test:simt:sm86', '--', '--ci'),
    jest: true,
    minutes: 10,
  },
  {
    name: 'CUDA on the SIMT device of sm_90',
    command: npm('test:simt:sm90', '--', '--ci'),
    jest: true,
    minutes: 30,
  },
  {
    name: 'CUDA on the SIMT device of sm_100',
    command: npm('test:simt:sm100', '--', '--ci'),
    jest: true,
    minutes: 10,
  },
  {
    name: 'CUDA on the SIMT device of sm_120',
    command: npm('test:simt:sm120', '--', '--ci'),
    jest: true,
    minutes: 10,
  },
  // Of these two only what has changed since docs/ was written: otherwise they take hours.
  { name: 'CUDA kernels by nvcc', command: npm('report:ptxas'), minutes: 30 },
  {
    name: 'mutations of the CUDA kernels',
    command: npm('test:mutations', '--', '--stale', '--sample', '40', '--seeds', '9', '--first'),
    minutes: 20,
  },
];

/**
 * What jest says it ran; a file that could not run, and a report that is not there, is a failure.
 */
function countTests(report, ok) {
  const result = readReport(report);
  if (result === undefined) return { passed: 0, failed: 1, skipped: 0 };
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  const each = result.testResults.flatMap(({ assertionResults }) => assertionResults);
  for (const { status, fullName } of each) {
    if (status === 'pending' || status === 'todo') console.log(`skipped: ${fullName}`);
  }
  return {
    passed: result.numPassedTests,
    failed: ok ? failed : Math.max(failed, 1),
    skipped: result.numPendingTests + result.numTodoTests,
  };
}

/** Undefined: it is not there, or not whole. */
function readReport(report) {
  try {
    return JSON.parse(readFileSync(report, 'utf8'));
  } catch (error) {
    console.error(`ci: no report of jest: ${error.message}`);
    return undefined;
  }
}

/** One step that is no jest run. */
const countStep = (status) => ({
  passed: status === 0 ? 1 : 0,
  failed: status === 0 || status === skipped ? 0 : 1,
  skipped: status === skipped ? 1 : 0,
});

const begun = Date.now();
const minutesLeft = () => minutesOfRun - (Date.now() - begun) / 60_000;

/** Somebody ends the run: what it found so far is told. */
const ended = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => ended.abort(name));

const total = { passed: 0, failed: 0, skipped: 0 };
const lines = [];

/** Why the next step is not begun, if it is not. */
function whyNot(index) {
  if (ended.signal.aborted) return ended.signal.reason;
  if (minutesLeft() <= 0) return `${minutesOfRun} minutes are over`;
  const isEarly = steps[index].cheap || steps[index - 1]?.cheap;
  return total.failed > 0 && isEarly ? 'what is cheap comes first' : undefined;
}

async function runAndCount(index) {
  const { name, command, jest, env, minutes = minutesOfStep } = steps[index];
  console.log(`\n── ${name}: ${command.join(' ')}`);
  const report = path.join(reports, `${index}.json`);
  const started = Date.now();
  const whole = jest ? [...command, '--json', `--outputFile=${report}`] : command;
  const milliseconds = Math.round(60_000 * Math.min(minutes, minutesLeft()));
  const status = await runStep(whole, { milliseconds, env, signal: ended.signal });
  const isCounted = jest && status !== skipped;
  const counts = isCounted ? countTests(report, status === 0) : countStep(status);
  for (const key of Object.keys(total)) total[key] += counts[key];
  const seconds = ((Date.now() - started) / 1000).toFixed(0);
  const { passed, failed } = counts;
  const verdict =
    failed > 0 ? 'FAILED ' : counts.skipped > 0 && passed === 0 ? 'skipped' : 'ok     ';
  lines.push(
    `${verdict} ${name}: ${passed} passed, ${failed} failed, ${counts.skipped} skipped (${seconds} s)`,
  );
}

try {
  for (const index of steps.keys()) {
    const reason = whyNot(index);
    if (reason !== undefined) {
      lines.push(`the rest was not begun: ${reason}`);
      total.failed = Math.max(total.failed, 1);
      break;
    }
    await runAndCount(index);
  }
} catch (error) {
  lines.push(`FAILED  ci: ${error.stack}`);
  total.failed++;
}

console.log(`\n${lines.join('\n')}`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 ? 1 : 0;
