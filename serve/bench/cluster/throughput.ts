import { startServerProcess } from '../server-process.js';
import { chatsOf, holdAll } from './chats.js';
import { Deployment } from './deployment.js';
import { processorTimeOf } from './processor-time.js';

export interface ThroughputOptions {
  readonly main: string;
  /** Of the model. */
  readonly folder: string;
  /** 0: one process without NATS. */
  readonly workers: number;
  /** Chats of one turn: as many for each worker, so many of them at a time. */
  readonly chats: number;
  readonly side: number;
  readonly promptWords: number;
  readonly answerTokens: number;
}

export interface ThroughputResult {
  readonly workers: number;
  readonly promptTokens: number;
  readonly answerTokens: number;
  readonly seconds: number;
  /** Seconds of processors: those that compute, and what is between them and the clients. */
  readonly computing: number;
  readonly frontend: number;
  readonly nats: number;
}

type Groups = Readonly<Record<'computing' | 'frontend' | 'nats', readonly number[]>>;

interface Running {
  readonly urls: readonly string[];
  readonly groups: Groups;
  stop(): Promise<void>;
}

/** Answers of so many workers, each with a thread of its own, beside what they cost. */
export async function measureThroughput(options: ThroughputOptions): Promise<ThroughputResult> {
  const { workers, chats, side, promptWords, answerTokens: maxTokens } = options;
  const running = await (workers === 0 ? startAlone(options) : startCluster(options));
  try {
    const times = Math.max(1, workers);
    const count = chats * times;
    const load = { side: side * times, maxTokens, logprobs: false };
    // No prompt is like another one: nothing is found.
    const held = chatsOf(count + load.side, count + load.side, promptWords, 1);
    await holdAll(held.slice(count), running.urls, load); // first steps take longer
    const { result, seconds: taken } = await processorTimeOf(running.groups, async () => {
      const start = performance.now();
      const results = await holdAll(held.slice(0, count), running.urls, load);
      return { results, seconds: (performance.now() - start) / 1000 };
    });
    const { results, seconds } = result;
    const promptTokens = results.reduce((sum, each) => sum + each.promptTokens, 0);
    const answerTokens = results.reduce((sum, each) => sum + each.completionTokens, 0);
    return { workers, promptTokens, answerTokens, seconds, ...taken };
  } finally {
    await running.stop();
  }
}

async function startCluster({ main, folder, workers }: ThroughputOptions): Promise<Running> {
  const deployment = await Deployment.start({ main, folder, workers, frontends: 1 });
  await deployment.ready();
  const { urls, pids: computing, frontendPids: frontend, nats } = deployment;
  return {
    ...{ urls, groups: { computing, frontend, nats: [nats.pid] } },
    stop: () => deployment.stop(),
  };
}

async function startAlone({ folder }: ThroughputOptions): Promise<Running> {
  const { url, process: child } = await startServerProcess(folder, ['--threads', '1']);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill();
    await ended;
  };
  const groups = { computing: [child.pid as number], frontend: [], nats: [] };
  return { urls: [url], groups, stop };
}
