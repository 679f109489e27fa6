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

/** Milliseconds beyond those for answers: the engine's thread and sockets need less. */
const closing = 25_000;
/** Milliseconds that the process has to end by itself once everything is closed. */
const ending = 1000;

/**
 * Closes the server at SIGTERM and SIGINT; `drain` milliseconds are for the answers that run. The
 * process then ends by itself, or is ended: something that is not the server's may keep it alive,
 * such as a channel to the process that started it, and exit() would wait for a thread of the
 * engine that is stuck in native code.
 */
export function stopOnSignal(
  server: Stoppable,
  engine: { readonly stuck: boolean },
  drain: number,
  source: SignalSource = process,
): void {
  let isStopping = false;
  const leave = (code: number): void => {
    if (engine.stuck) source.kill(source.pid, 'SIGKILL');
    else source.exit(code);
  };
  // These do not keep the process alive either.
  const leaveIn = (milliseconds: number, code: number) =>
    setTimeout(() => leave(code), milliseconds).unref();
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    // The second one is from somebody who doesn't want to wait.
    if (isStopping) return leave(1);
    isStopping = true;
    console.error(`${signal}: answers have ${drain / 1000} s to end`);
    const late = leaveIn(drain + closing, 1);
    await server.close(drain);
    clearTimeout(late);
    if (engine.stuck) leave(1);
    else leaveIn(ending, 0);
  };
  source.on('SIGTERM', stop).on('SIGINT', stop);
}
