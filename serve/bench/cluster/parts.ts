// What `npm run bench:cluster` measures, each part from its options.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { defaultTiming } from '../../src/cluster/timing.js';
import { type Variant, variants, writeTestModel } from '../../test/models/index.js';
import { decidedChats, holdInChaos } from './chaos.js';
import { type ChatResult, chatsOf, holdAll } from './chats.js';
import { measureCosts } from './costs.js';
import { Deployment } from './deployment.js';
import { measureRouting, type RoutingResult } from './routing.js';
import { type ClusterLoad, modelCluster, type ScaleResult } from './scale-model.js';
import { measureThroughput, type ThroughputResult } from './throughput.js';
import { measureTransfer, type TransferResult } from './transfer.js';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

/** A decoder with random weights. */
function model(variant: Variant): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'serve-bench-cluster-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  writeTestModel(folder, variant);
  return folder;
}

export interface ChaosPartOptions {
  readonly chats: number;
  readonly workers: number;
  readonly frontends: number;
  readonly killEvery: number;
  readonly kills: number;
  readonly side: number;
  readonly maxTokens: number;
}

export interface ChaosPartResult {
  readonly chats: number;
  /** Chats that hang on no tie, and how many of them were the same, each time they were held. */
  readonly decided: number;
  readonly same: readonly number[];
  readonly kills: number;
  readonly seconds: number;
}

export async function chaos(options: ChaosPartOptions): Promise<ChaosPartResult> {
  const { workers, frontends, killEvery, kills, side, maxTokens } = options;
  const folder = model({ ...variants['int4-level1'], context: 1024 });
  const workerArguments = ['--max-tokens-in-cache', '16384'];
  const deployment = await Deployment.start({ main, folder, frontends, workers, workerArguments });
  try {
    const chats = chatsOf(options.chats, 4, 12, 2);
    const load = { side, maxTokens };
    const quiet = await holdAll(chats, deployment.urls, load);
    const held = await holdInChaos(deployment, chats, { ...load, killEvery, leastKills: kills });
    const decided = decidedChats(quiet);
    const text = (results: readonly ChatResult[], i: number) => results[i].answers.join('|');
    const same = held.rounds.map((results) => {
      return decided.filter((i) => text(results, i) === text(quiet, i)).length;
    });
    const seconds = held.milliseconds / 1000;
    return { chats: chats.length, decided: decided.length, same, kills: held.kills, seconds };
  } finally {
    await deployment.stop();
  }
}

export interface RoutingPartOptions {
  readonly chats: number;
  readonly systems: number;
  readonly systemTokens: number;
  readonly turns: number;
  readonly workers: number;
  readonly side: number;
  readonly cache: number;
}

export async function routing(given: RoutingPartOptions): Promise<RoutingResult[]> {
  const { workers, cache, ...options } = given;
  const folder = model({ ...variants['int4-level1'], context: 4096 });
  const workerArguments = ['--max-tokens-in-cache', `${cache}`];
  const lengths = { userTokens: 32, answerTokens: 32 };
  const results: RoutingResult[] = [];
  for (const way of ['random', 'prefix'] as const) {
    const deployment = { main, folder, workers, workerArguments };
    results.push(await measureRouting(way, deployment, { ...options, ...lengths }));
  }
  return results;
}

export interface ThroughputPartOptions {
  /** The most workers. */
  readonly workers: number;
  readonly chats: number;
  readonly side: number;
  readonly promptWords: number;
  readonly answerTokens: number;
}

/** One process without NATS, then 1 worker and more. */
export async function throughput({
  workers: most,
  ...options
}: ThroughputPartOptions): Promise<ThroughputResult[]> {
  const folder = model(variants.mid);
  const results: ThroughputResult[] = [];
  for (let workers = 0; workers <= most; workers++) {
    results.push(await measureThroughput({ main, folder, workers, ...options }));
  }
  return results;
}

export async function transfer(options: {
  readonly tokens: number;
  readonly rounds: number;
}): Promise<TransferResult[]> {
  const lengths = [options.tokens / 8, options.tokens].map(Math.ceil);
  const results: TransferResult[] = [];
  for (const dtype of ['bfloat16', 'int8'] as const) {
    results.push(...(await measureTransfer(dtype, lengths, options.rounds)));
  }
  return results;
}

export interface ScalePart {
  readonly load: ClusterLoad;
  readonly result: ScaleResult;
}

export function scale(): { costs: ReturnType<typeof measureCosts>; parts: ScalePart[] } {
  const costs = measureCosts();
  const sizes = [
    [100, 4],
    [10_000, 400],
    [10_000, 40],
  ];
  const parts = sizes.map(([workers, frontends]) => {
    const load = {
      ...{ workers, frontends, requests: 2 * workers, promptTokens: 1000, answerTokens: 250 },
      ...{ tokensPerSecond: 25, pages: 65_536, pageSize: 16 },
      ...{ beat: defaultTiming.beat, alive: defaultTiming.alive },
    };
    return { load, result: modelCluster(load, costs) };
  });
  return { costs, parts };
}
