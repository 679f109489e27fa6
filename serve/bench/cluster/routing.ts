import { setTimeout as delay } from 'node:timers/promises';
import type { GenerationRequest } from '../../src/engine/contract.js';
import { Connection } from '../../src/cluster/connection.js';
import { Directory } from '../../src/cluster/frontend/directory.js';
import { RemoteEngine } from '../../src/cluster/frontend/remote-engine.js';
import type { Routing } from '../../src/cluster/frontend/router.js';
import { greedy } from '../../src/sampler/greedy.js';
import { Deployment, type DeploymentOptions } from './deployment.js';

export interface RoutingOptions {
  readonly chats: number;
  /** Different system prompts, and their tokens. */
  readonly systems: number;
  readonly systemTokens: number;
  readonly turns: number;
  readonly userTokens: number;
  readonly answerTokens: number;
  /** Chats at a time. */
  readonly side: number;
}

export interface RoutingResult {
  readonly routing: Routing;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** Milliseconds to the first token, of the middle turn and of one in twenty. */
  readonly firstToken: { readonly median: number; readonly p95: number };
  readonly seconds: number;
}

/** Holds the same chats on fresh workers, chosen one way or the other. */
export async function measureRouting(
  routing: Routing,
  deploymentOptions: Omit<DeploymentOptions, 'frontends'>,
  options: RoutingOptions,
): Promise<RoutingResult> {
  const deployment = await Deployment.start({ ...deploymentOptions, frontends: 0 });
  const connection = await Connection.open({ url: deployment.nats.url, cluster: 'default' });
  try {
    const directory = new Directory(connection);
    const { info } = await directory.first();
    while (directory.all.length < deploymentOptions.workers) await delay(20);
    const engine = new RemoteEngine(connection, directory, info, { routing });
    const total = { promptTokens: 0, cachedTokens: 0 };
    const first: number[] = [];
    const start = performance.now();
    const hold = async (chat: number): Promise<void> => {
      let text = idsOf(chat % options.systems, options.systemTokens, info.vocabSize);
      for (let turn = 0; turn < options.turns; turn++) {
        const said = idsOf(1000 + chat * options.turns + turn, options.userTokens, info.vocabSize);
        text = Int32Array.of(...text, ...said);
        const asked = performance.now();
        const generation = engine.generate(requestOf(text, options.answerTokens));
        const answer: number[] = [];
        for await (const { token } of generation) {
          if (answer.push(token) === 1) first.push(performance.now() - asked);
        }
        const { promptTokens, cachedTokens, error } = await generation.finished;
        if (error) throw error;
        total.promptTokens += promptTokens;
        total.cachedTokens += cachedTokens;
        text = Int32Array.of(...text, ...answer);
      }
    };
    let next = 0;
    const lane = async (): Promise<void> => {
      for (let chat = next++; chat < options.chats; chat = next++) await hold(chat);
    };
    await Promise.all(Array.from({ length: options.side }, lane));
    const seconds = (performance.now() - start) / 1000;
    await engine.close(0);
    first.sort((a, b) => a - b);
    const at = (part: number): number => first[Math.floor(part * (first.length - 1))];
    return { routing, ...total, seconds, firstToken: { median: at(0.5), p95: at(0.95) } };
  } finally {
    await connection.close();
    await deployment.stop();
  }
}

/** Ids that a seed decides, without those of special tokens. */
function idsOf(seed: number, length: number, vocabSize: number): Int32Array {
  let state = (seed + 1) * 48_271;
  return Int32Array.from({ length }, () => {
    state = (state * 48_271) % 0x7fffffff;
    return state % (vocabSize - 64);
  });
}

function requestOf(prompt: Int32Array, maxTokens: number): GenerationRequest {
  return {
    ...{ prompt, maxTokens, minTokens: 0, ignoreEos: true, stopTokenIds: [], sampling: greedy },
    ...{ responseFormat: { type: 'text' }, speculativeTokens: 0, priority: 0 },
    ...{ user: 'bench', cacheScope: '' },
  };
}
