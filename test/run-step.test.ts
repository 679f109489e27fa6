// scripts/run-step.mjs: what a step of CI leaves, and what becomes of one that hangs.
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { jest } from '@jest/globals';
// @ts-expect-error: plain JavaScript
import { runStep } from '../scripts/run-step.mjs';
import { scratchFolder } from './support/cli.js';
import { testIf } from './support/device.js';

const { folder, done } = scratchFolder();
afterAll(done);

const hours = 3_600_000;
const pids = path.join(folder, 'pids');
let said: string[] = [];
let complained: jest.SpiedFunction<typeof console.error>;
beforeEach(() => {
  said = [];
  rmSync(pids, { force: true });
  complained = jest.spyOn(console, 'error').mockImplementation((text) => {
    said.push(String(text));
  });
});
afterEach(() => complained.mockRestore());

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};
/** Resolves once it has ended: a killed process takes a moment. */
async function end(pid: number): Promise<void> {
  while (isAlive(pid)) await delay(20);
}
const node = (code: string) => [process.execPath, '--eval', code];

/** Starts a process in a session of its own, which hears nothing and says that it is there. */
const deaf = `
  const { appendFileSync } = require('node:fs');
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(name, () => {});
  appendFileSync(${JSON.stringify(pids)}, process.pid + '\\\\n');
  setInterval(() => {}, 1000);`;
const starting = `
  const { existsSync } = require('node:fs');
  const options = { detached: true, stdio: 'ignore' };
  require('node:child_process')
    .spawn(process.execPath, ['--eval', \`${deaf}\`], options)
    .unref();
  const looking = setInterval(() => {
    if (!existsSync(${JSON.stringify(pids)})) return;
    clearInterval(looking);
    then();
  }, 20);`;
const started = () => readFileSync(pids, 'utf8').trim().split('\n').map(Number);

test('the status is that of the command', async () => {
  expect(await runStep(node(''), { milliseconds: hours })).toBe(0);
  expect(await runStep(node('process.exit(77)'), { milliseconds: hours })).toBe(77);
  const env = { TOLD: '5' };
  expect(await runStep(node('process.exit(+process.env.TOLD)'), { milliseconds: hours, env })).toBe(
    5,
  );
  expect(said).toEqual([]);
  expect(await runStep(['/nowhere/command'], { milliseconds: hours })).toBeUndefined();
  expect(said).toEqual([expect.stringContaining('ENOENT')]);
});

const onLinux = testIf(process.platform === 'linux', 'processes are looked for in /proc');

onLinux('what a command leaves behind is told and ended', async () => {
  const command = node(`${starting} function then() { process.exit(3); }`);
  expect(await runStep(command, { milliseconds: hours })).toBe(3);
  const [pid] = started();
  expect(said).toEqual([expect.stringMatching(new RegExp(`left behind.*\\n +${pid} `))]);
  await end(pid);
});

onLinux('a command that does not end is ended, and told', async () => {
  const command = node('setInterval(() => {}, 1000)');
  expect(await runStep(command, { milliseconds: 600 })).toBeUndefined();
  const [told] = said;
  expect(told).toMatch(/no end after 0 minutes; what ran:\n {2}\d+ .*setInterval/);
  await end(Number(/\n {2}(\d+)/.exec(told)?.[1]));
});

onLinux('a run that is ended ends its step, and all that it started', async () => {
  const ended = new AbortController();
  const command = node(`${starting} function then() { setInterval(() => {}, 1000); }`);
  const step = runStep(command, { milliseconds: hours, signal: ended.signal });
  while (!pidsAreThere()) await new Promise((resolve) => setTimeout(resolve, 20));
  ended.abort('SIGTERM');
  expect(await step).toBeUndefined();
  expect(said).toEqual([expect.stringContaining('SIGTERM; what ran:')]);
  for (const pid of started()) await end(pid);
});

function pidsAreThere(): boolean {
  try {
    return started().length > 0;
  } catch {
    return false;
  }
}
