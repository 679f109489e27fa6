import type { GenerationRequest } from '../../src/engine/contract.js';
import { startEngine } from '../../src/engine/engine.js';
import { greedy } from '../../src/sampler/greedy.js';
import type { Case, Start } from '../contestant.js';

/** Tokens that the cache of our engine needs for a case. */
export const tokensInCache = ({ concurrency, context, newTokens }: Case): number =>
  (concurrency + 1) * (context + newTokens + 32);

/** The engine as flash-attention-serve runs it, without HTTP: what the peers are compared with. */
export const startEngineContestant: Start = async (given) => {
  const engine = await startEngine(
    {
      folder: given.model.folder,
      maxTokensInCache: tokensInCache(given),
      pageSize: 16,
      kvDtype: 'float32',
      device: 'cpu',
      threads: given.threads,
      maxBatchTokens: 512,
      prefillChunk: 256,
      maxRunning: given.concurrency,
      maxQueued: 100_000,
      prefixCache: true,
    },
    { module: new URL('../dist/engine/worker.js', import.meta.url) },
  );
  let requests = 0;
  return {
    async answer(prompt, told) {
      const tokens: number[] = [];
      const request = greedyRequest(prompt, given.newTokens, requests++);
      for await (const { token } of engine.generate(request)) {
        tokens.push(token);
        told();
      }
      return tokens;
    },
    close: () => engine.close(0),
  };
};

function greedyRequest(prompt: Int32Array, maxTokens: number, user: number): GenerationRequest {
  return {
    prompt,
    maxTokens,
    minTokens: 0,
    ignoreEos: true,
    stopTokenIds: [],
    sampling: greedy,
    responseFormat: { type: 'text' },
    speculativeTokens: 0,
    priority: 0,
    user: `${user}`,
    cacheScope: '',
  };
}
