import type { Engine, EngineOptions } from '../../src/engine/contract.js';
import { startEngine } from '../../src/engine/engine.js';
import { loadModelText } from '../../src/model/model-text.js';
import { PromptEncoder } from '../../src/text/prompt-encoder.js';
import { type Serving, serve } from './serving.js';

const module = new URL('../../dist/model/model-text.js', import.meta.url).href;

/** Serves a model's folder as the command line does, until stopServing. */
export async function serveModel(
  folder: string,
  options: Partial<EngineOptions> = {},
): Promise<Serving & { readonly engine: Engine }> {
  const engine = await startEngine(
    {
      ...{ folder, maxTokensInCache: 8192, pageSize: 16, kvDtype: 'float32', device: 'cpu' },
      ...{ maxBatchTokens: 256, prefillChunk: 64, maxRunning: 16, maxQueued: 256 },
      ...{ prefixCache: true, threads: 1, ...options },
    },
    // Threads run what is compiled.
    { module: new URL('../../dist/engine/worker.js', import.meta.url) },
  );
  const text = await loadModelText(folder);
  const prompts = new PromptEncoder(text, { module, folder }, engine.info.contextLength);
  return { ...(await serve(engine, {}, prompts)), engine };
}
