import type { EventEmitter } from 'node:events';

/** What of the server a signal needs. */
export interface Stoppable {
  close(drain: number): Promise<void>;
}

/** What of a process a signal needs. */
export interface SignalSource extends EventEmitter {
  readonly pid: number;
  exit(code: number): void;
  kill(pid: number, signal: NodeJS.Signals): void;
}

/**
 * Closes the server at SIGTERM and SIGINT; `drain` milliseconds are for the answers that run. The
 * process then ends by itself, except where a thread of the engine is stuck in native code: that
 * one even exit() would wait for.
 */
export function stopOnSignal(
  server: Stoppable,
  engine: { readonly stuck: boolean },
  drain: number,
  source: SignalSource = process,
): void {
  let isStopping = false;
  const leave = (): void => {
    if (engine.stuck) source.kill(source.pid, 'SIGKILL');
    else source.exit(1);
  };
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    // The second one is from somebody who doesn't want to wait.
    if (isStopping) return leave();
    isStopping = true;
    console.error(`${signal}: answers have ${drain / 1000} s to end`);
    await server.close(drain);
    if (engine.stuck) leave();
  };
  source.on('SIGTERM', stop).on('SIGINT', stop);
}
