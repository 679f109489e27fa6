/**
 * Runs a script of test/fixtures in a Node process of its own, so that its end can be looked at.
 */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url));

export interface ChildResult {
  /** Exit status; null when a signal ended it. */
  readonly status: number | null;
  /** The signal that ended it, `SIGKILL` when it ran out of time. */
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function runChild(
  script: string,
  args: (string | number)[] = [],
  options: { flags?: string[]; env?: Record<string, string>; timeout?: number } = {},
): Promise<ChildResult> {
  const { flags = [], env = {}, timeout = 60_000 } = options;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...flags, path.join(fixtures, script), ...args.map(String)],
      { env: { ...process.env, ...env }, timeout, killSignal: 'SIGKILL', maxBuffer: 2 ** 26 },
      (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
        resolve({ status, signal: error?.signal ?? null, stdout, stderr });
      },
    );
  });
}
