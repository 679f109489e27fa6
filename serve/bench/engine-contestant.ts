import type { Engine, GenerationRequest } from '../src/engine/contract.js';
import { startEngine } from '../src/engine/engine.js';
import { greedy } from '../src/sampler/greedy.js';
import type { Case, Contestant } from './contestant.js';

/** The engine as flash-attention-serve runs it. */
export class EngineContestant implements Contestant {
  readonly #engine: Engine;

  private constructor(engine: Engine) {
    this.#engine = engine;
  }

  static async start({ folder, threads, users, context, newTokens }: Case): Promise<Contestant> {
    const engine = await startEngine(
      {
        folder,
        maxTokensInCache: (users + 1) * (context + newTokens + 32),
        pageSize: 16,
        kvDtype: 'float32',
        device: 'cpu',
        threads,
        maxBatchTokens: 512,
        prefillChunk: 256,
        maxRunning: 64,
        maxQueued: 64,
        prefixCache: true,
      },
      { module: new URL('../dist/engine/worker.js', import.meta.url) },
    );
    return new EngineContestant(engine);
  }

  answer(prompts: readonly Int32Array[], newTokens: number, told: (user: number) => void) {
    return Promise.all(
      prompts.map(async (prompt, user) => {
        const tokens: number[] = [];
        for await (const { token } of this.#engine.generate(
          greedyRequest(prompt, newTokens, user),
        )) {
          tokens.push(token);
          told(user);
        }
        return tokens;
      }),
    );
  }

  close(): Promise<void> {
    return this.#engine.close(0);
  }
}

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
