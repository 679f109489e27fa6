import { setTimeout as delay } from 'node:timers/promises';
import { type Chat, type ChatResult, holdAll } from './chats.js';
import { type Deployment, readyWorkers } from './deployment.js';

export interface ChaosOptions {
  /** Milliseconds from one end of a worker to the next, or more: all have begun again by then. */
  readonly killEvery: number;
  /** The chats are held again until so many have ended. */
  readonly leastKills: number;
  /** Chats at a time. */
  readonly side: number;
  readonly maxTokens: number;
}

export interface ChaosResult {
  /** The chats, each time that they were held. */
  readonly rounds: readonly (readonly ChatResult[])[];
  readonly kills: number;
  readonly milliseconds: number;
}

/** Holds chats while workers end, one after the other; each is started again. */
export async function holdInChaos(
  deployment: Pick<Deployment, 'pids' | 'urls'>,
  chats: readonly Chat[],
  { killEvery, leastKills, ...load }: ChaosOptions,
): Promise<ChaosResult> {
  const start = performance.now();
  const workers = deployment.pids.length;
  const over = new AbortController();
  let kills = 0;
  const endWorkers = async (): Promise<void> => {
    for (;;) {
      await delay(killEvery, undefined, { signal: over.signal });
      const ready = await Promise.all(deployment.urls.map(readyWorkers));
      if (Math.min(...ready) < workers) continue;
      // Every other one is told to stop, as in a rolling restart: it hands over what it has.
      const pid = deployment.pids[kills % workers];
      process.kill(pid, kills % 2 === 0 ? 'SIGKILL' : 'SIGTERM');
      kills++;
    }
  };
  const ending = endWorkers();
  ending.catch(() => {}); // it is heard where chats are held
  try {
    const rounds: ChatResult[][] = [];
    while (kills < leastKills) {
      const held = holdAll(chats, deployment.urls, load);
      await Promise.race([held, ending]);
      rounds.push(await held);
    }
    return { rounds, kills, milliseconds: performance.now() - start };
  } finally {
    over.abort();
    await ending.catch(() => {});
  }
}

/** Differences below this are roundings of float32 sums: see {@link ChatResult.closest}. */
const tie = 1e-5;

/** Chats of a quiet run by their number: those that hang on no tie have to be the same in chaos. */
export function decidedChats(quiet: readonly ChatResult[]): number[] {
  return [...quiet.keys()].filter((i) => quiet[i].closest > tie);
}
