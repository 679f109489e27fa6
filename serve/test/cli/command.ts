import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';

const main = path.resolve(import.meta.dirname, '../../dist/cli/main.js');

/** A command that has ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command under way. */
export interface Command {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves to what stdout, or stderr, says once it says this. */
  says(pattern: RegExp, where?: 'stdout' | 'stderr'): Promise<RegExpMatchArray>;
}

/** Runs `flash-attention-serve` as it is built. */
export function start(...args: readonly string[]): Command {
  return started([main, ...args], ['ignore', 'pipe', 'pipe']);
}

/** The same with a channel to its process. */
export function startWithChannel(...args: readonly string[]): Command {
  return started([main, ...args], ['ignore', 'pipe', 'pipe', 'ipc']);
}

/** The same with code that listens to the channel, which keeps it alive. */
export function startListening(listener: string, ...args: readonly string[]): Command {
  return started(['--import', listener, main, ...args], ['ignore', 'pipe', 'pipe', 'ipc']);
}

function started(args: readonly string[], stdio: ('ignore' | 'pipe' | 'ipc')[]): Command {
  const child = spawn(process.execPath, args, { stdio });
  const heard = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.on('data', (data) => {
      heard[stream] += data;
    });
  }
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code) => resolve({ code, ...heard }));
  });
  const says: Command['says'] = (pattern, where = 'stdout') =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const found = heard[where].match(pattern);
        if (found) resolve(found);
      };
      child[where]?.on('data', look);
      ended.then(({ stderr }) => reject(new Error(stderr)));
      look();
    });
  return { process: child, ended, says };
}

export const run = (...args: readonly string[]): Promise<Ended> => start(...args).ended;
