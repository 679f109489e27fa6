import { readFileSync } from 'node:fs';

/** What a thread has had of the processors, in milliseconds. */
export interface ThreadTime {
  readonly computing: number;
  /** Ready to compute, while others had the processors. */
  readonly waiting: number;
}

const file = `/proc/self/task/${process.pid}/schedstat`;

/** Of the main thread. Linux says it; elsewhere undefined. */
export function threadTime(): ThreadTime | undefined {
  if (process.platform !== 'linux') return undefined;
  const [computing, waiting] = readFileSync(file, 'latin1').split(' ', 2).map(Number);
  return { computing: computing / 1e6, waiting: waiting / 1e6 };
}
