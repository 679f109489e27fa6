// A command of a longer run: it ends in time, and leaves no process to those after it.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { root } from './ensure-built.mjs';

/** All processes that a command starts inherit it, whatever groups and sessions they make. */
const markName = 'CI_STEP';
let marks = 0;

/** Milliseconds for processes to end: once the one that started them has, and once killed. */
const ending = 2000;

/** The processes with a mark; none where there is no /proc to look in. */
function processesWith(mark) {
  const processes = [];
  for (const pid of idsOfProcesses()) {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`${mark}\0`)) continue;
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
      if (command !== '') processes.push({ pid: Number(pid), command });
    } catch {
      // It has ended, or is somebody else's.
    }
  }
  return processes;
}

function idsOfProcesses() {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

/** Waits for the processes with a mark to end. @returns those that have not. */
async function waitForEnd(mark) {
  const end = performance.now() + ending;
  let left = processesWith(mark);
  while (left.length > 0 && performance.now() < end) {
    await delay(50);
    left = processesWith(mark);
  }
  return left;
}

const listed = (processes) => processes.map(({ pid, command }) => `\n  ${pid} ${command}`).join('');

/**
 * Runs a command in the package folder.
 *
 * @param milliseconds after which it is ended, with a list of what ran.
 * @param signal ends it as well; its reason is a text.
 * @returns its exit status; undefined when it was ended, or could not be started.
 */
export async function runStep([command, ...args], { milliseconds, env, signal }) {
  const value = `${process.pid}-${marks++}`;
  const mark = `${markName}=${value}`;
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, ...env, [markName]: value },
    stdio: ['ignore', 'inherit', 'inherit'],
    // A process group of its own: where there is no /proc the step goes with its group.
    detached: true,
  });
  const { why, status } = await endOf(child, milliseconds, signal);
  if (child.pid === undefined) {
    console.error(`ci: ${why}`);
    return undefined;
  }
  const left = why === undefined ? await waitForEnd(mark) : processesWith(mark);
  if (why !== undefined) console.error(`ci: ${why}; what ran:${listed(left)}`);
  else if (left.length > 0) console.error(`ci: left behind, and ended now:${listed(left)}`);
  kill(-child.pid);
  for (const { pid } of left) kill(pid);
  // What they started meanwhile.
  for (const { pid } of await waitForEnd(mark)) kill(pid);
  return status;
}

/** Resolves to the exit status, or to why it is to be ended. */
async function endOf(child, milliseconds, signal) {
  const done = new AbortController();
  const once = { signal: done.signal };
  const ended = new Promise((resolve) => {
    child.once('error', (error) => resolve({ why: error.message }));
    child.once('exit', (status) => resolve({ status: status ?? undefined }));
    const minutes = Number((milliseconds / 60_000).toFixed(1));
    const late = { why: `no end after ${minutes} minutes` };
    delay(milliseconds, late, once).then(resolve, () => {});
    const stop = () => resolve({ why: signal.reason });
    signal?.addEventListener('abort', stop, once);
    if (signal?.aborted) stop();
  });
  try {
    return await ended;
  } finally {
    done.abort();
  }
}
