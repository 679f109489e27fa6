import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { ClusterError } from './cluster-error.js';

const firstRestart = 500;
const longestRestart = 30_000;
/** A process that lived for so long began well. */
const wellBegun = 60_000;

/** Processes of this machine that are started again when they end. */
export class ChildWorkers {
  readonly #command: readonly string[];
  readonly #stderr: 'inherit' | 'ignore';
  readonly #children = new Set<ChildProcess>();
  readonly #stop = new AbortController();
  readonly #kept: Promise<void>[];
  /** Rejects when one ends with an error where it was started first. */
  readonly failed: Promise<never>;
  #fail!: (error: Error) => void;

  /**
   * @param command of Node: a script and its arguments.
   * @param stderr where their logs go.
   */
  constructor(command: readonly string[], count: number, stderr: 'inherit' | 'ignore' = 'inherit') {
    this.#command = command;
    this.#stderr = stderr;
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => {});
    this.#kept = Array.from({ length: count }, () => this.#keep());
  }

  /** Ids of the processes that run. */
  get pids(): number[] {
    return [...this.#children].flatMap(({ pid }) => pid ?? []);
  }

  /**
   * Resolves when all have ended.
   *
   * @param signal undefined: they end as when this process is gone.
   */
  async stop(signal?: NodeJS.Signals): Promise<void> {
    this.#stop.abort();
    for (const child of this.#children) {
      if (signal) child.kill(signal);
      else child.disconnect();
    }
    await Promise.all(this.#kept);
  }

  async #keep(): Promise<void> {
    const { signal } = this.#stop;
    for (let wait = firstRestart; !signal.aborted; wait = Math.min(2 * wait, longestRestart)) {
      const start = performance.now();
      // In a group of its own: what the keyboard interrupts is this process, which stops the rest.
      // The channel tells the child when this process is gone.
      const child = spawn(process.execPath, this.#command, {
        stdio: ['ignore', 'ignore', this.#stderr, 'ipc'],
        detached: true,
      });
      this.#children.add(child);
      const code = await new Promise((resolve) => {
        child.once('exit', resolve).once('error', resolve);
      });
      this.#children.delete(child);
      if (code !== 0) this.#fail(new ClusterError('a worker ended before it was there'));
      if (performance.now() - start > wellBegun) wait = firstRestart;
      if (!signal.aborted) await delay(wait, undefined, { signal }).catch(() => {});
    }
  }
}
