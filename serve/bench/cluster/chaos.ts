import { type Chat, type ChatResult, holdAll } from './chats.js';
import type { Deployment } from './deployment.js';

export interface ChaosOptions {
  /** Milliseconds from one end of a worker to the next. */
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
  let kills = 0;
  const start = performance.now();
  const timer = setInterval(() => {
    const { pids } = deployment;
    if (pids.length === 0) return;
    // Every other one is told to stop, as in a rolling restart: it hands over what it has.
    process.kill(pids[kills % pids.length], kills % 2 === 0 ? 'SIGKILL' : 'SIGTERM');
    kills++;
  }, killEvery);
  try {
    const rounds: ChatResult[][] = [];
    while (kills < leastKills) rounds.push(await holdAll(chats, deployment.urls, load));
    return { rounds, kills, milliseconds: performance.now() - start };
  } finally {
    clearInterval(timer);
  }
}

/** Differences below this are roundings of float32 sums: see {@link ChatResult.closest}. */
const tie = 1e-5;

/** Chats of a quiet run by their number: those that hang on no tie have to be the same in chaos. */
export function decidedChats(quiet: readonly ChatResult[]): number[] {
  return [...quiet.keys()].filter((i) => quiet[i].closest > tie);
}
