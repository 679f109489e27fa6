/**
 * Runs test files in processes, one for each core. A kernel that hangs, crashes or breaks the
 * device so costs one test: its process is killed, and another goes on with the tests that no
 * process has begun.
 *
 *   --file NAME      only this file
 *   --filter TEXT    only tests whose full name matches this regular expression
 *   --results FILE   each result is appended as it comes, a line of JSON
 *   --seconds N      how long a test may take (60)
 */
import { type ChildProcess, fork } from 'node:child_process';
import { appendFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { type Message, type Result, runFile } from './harness.js';

type Files = Readonly<Record<string, () => Promise<unknown>>>;

/** What csrc/cuda/runtime/device.cpp says of a device after an error that stays. */
const deviceIsGone = 'cannot be used again in this process';

const { values: options } = parseArgs({
  options: {
    file: { type: 'string' },
    filter: { type: 'string', default: '' },
    results: { type: 'string' },
    seconds: { type: 'string', default: '60' },
    child: { type: 'string' }, // of the processes started here
  },
});
const wanted = new RegExp(options.filter);
const counts = { passed: 0, failed: 0, skipped: 0 };
/** What each process is at. */
const doing = new Map<ChildProcess, string>();

function report(result: Result): void {
  counts[result.outcome] += 1;
  if (options.results) appendFileSync(options.results, `${JSON.stringify(result)}\n`);
  console.log(`${result.outcome.padEnd(8)}${result.name} (${result.milliseconds} ms)`);
  if (result.error) console.log(result.error.replace(/^/gm, '    '));
}

const reportFailure = (name: string, error: string) =>
  report({ name, outcome: 'failed', milliseconds: 0, error });

/**
 * One process over the tests that are not in `begun`; resolves to whether it has come to the end of
 * the file.
 */
function runProcess(file: string, begun: Set<number>): Promise<boolean> {
  return new Promise((resolve) => {
    const child = fork(process.argv[1], ['--child', file]);
    let timer: NodeJS.Timeout | undefined;
    let own = 0; // tests that this process has begun
    let last = -1;
    let finished = false;
    /** Does not wait for the process to die: one that the driver holds does not. */
    const settle = (end: boolean, error?: string) => {
      clearTimeout(timer);
      child.removeAllListeners().on('error', () => {});
      child.kill('SIGKILL');
      if (error) reportFailure(doing.get(child) ?? file, error);
      doing.delete(child);
      resolve(end);
    };
    const begin = (what: string) => {
      doing.set(child, what);
      clearTimeout(timer);
      const late = () => settle(finished || own === 0, `took longer than ${options.seconds} s`);
      timer = setTimeout(late, Number(options.seconds) * 1000);
    };
    const asked = (name: string, index: number) => {
      const go = !begun.has(index) && wanted.test(name);
      child.send(go);
      if (!go) return;
      begun.add(index);
      own += 1;
      last = index;
      begin(name);
    };
    const told = (result: Result) => {
      const gone = result.error?.includes(deviceIsGone);
      // Another test of that process may have broken the device: this one runs again, as the first
      // of the next.
      if (gone && own > 1 && doing.get(child) === result.name) begun.delete(last);
      else report(result);
      if (gone) settle(false);
      else begin(`${file} › what follows ${result.name}`);
    };
    child.on('message', (message: Message) => {
      if (message.kind === 'ask') return asked(message.name, message.index);
      if (message.kind === 'result') return told(message.result);
      finished = true;
      begin(`${file} › the end of its process`);
    });
    child.on('error', (error) => settle(true, error.message));
    child.on('close', (code, signal) => {
      if (finished && code === 0) settle(true);
      else settle(finished || own === 0, `its process ended: ${signal ?? `exit code ${code}`}`);
    });
    begin(`${file} › what precedes its tests`);
  });
}

/** Takes turns with the others, so that files of many tests end up with several processes. */
async function work(queue: string[], begun: Map<string, Set<number>>): Promise<void> {
  for (let file = queue.shift(); file; file = queue.shift()) {
    queue.push(file);
    while (!(await runProcess(file, begun.get(file) as Set<number>))) {}
    const at = queue.indexOf(file);
    if (at >= 0) queue.splice(at, 1);
  }
}

function end(): never {
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  process.exit(counts.failed > 0 || counts.passed === 0 ? 1 : 0);
}

export async function runTests(files: Files): Promise<void> {
  if (options.child) return runFile(options.child, files[options.child]);
  if (options.results) writeFileSync(options.results, '');
  const queue = Object.keys(files).filter((file) => !options.file || file === options.file);
  // From `timeout`, which kills the processes along with this one.
  process.on('SIGTERM', () => {
    for (const what of doing.values()) reportFailure(what, 'out of time');
    reportFailure(queue.join(', '), 'out of time: not all of these files have run');
    end();
  });
  const begun = new Map(queue.map((file) => [file, new Set<number>()]));
  await Promise.all(Array.from({ length: availableParallelism() }, () => work(queue, begun)));
  end();
}
