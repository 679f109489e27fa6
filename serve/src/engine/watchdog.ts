/** Where an engine's thread shows that it gets on: one number, in memory that threads share. */
export class Heartbeat {
  readonly memory: Int32Array<SharedArrayBuffer>;

  constructor(memory = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))) {
    this.memory = memory;
  }

  beat(): void {
    Atomics.add(this.memory, 0, 1);
  }

  get count(): number {
    return Atomics.load(this.memory, 0);
  }
}

export interface WatchdogOptions {
  readonly heartbeat: Heartbeat;
  /** Milliseconds from one beat to the next, while there is something to do. */
  readonly limit: number;
  readonly isBusy: () => boolean;
  /** Called once. */
  readonly onHang: () => void;
}

/** How often it looks within the limit. */
const looks = 10;

/**
 * Notices a thread that has something to do and shows no heartbeat. It counts its own looks, not
 * the time: a process that was held as a whole has lost nothing.
 *
 * @returns ends it.
 */
export function watch({ heartbeat, limit, isBusy, onHang }: WatchdogOptions): () => void {
  let last = heartbeat.count;
  let silent = 0;
  const timer = setInterval(() => {
    const { count } = heartbeat;
    silent = count === last && isBusy() ? silent + 1 : 0;
    last = count;
    if (silent <= looks) return;
    clearInterval(timer);
    onHang();
  }, limit / looks).unref();
  return () => clearInterval(timer);
}
