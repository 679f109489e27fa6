import type { Engine, EngineOptions, Generation } from '../../src/engine/contract.js';
import { startEngine } from '../../src/engine/engine.js';
import type { ScriptedOptions } from './scripted-forward.js';

export interface Script {
  readonly model?: ScriptedOptions;
  readonly stepMilliseconds?: number;
  /** The file of {@link stuck}. */
  readonly stuckWhile?: string;
  /** Why the model can't be loaded. */
  readonly broken?: string;
  /** Grammars are never made. Default: there are none. */
  readonly grammars?: 'never';
}

/** A prompt that ends the thread. */
export const deadly = [30, 30, 30];

/** Prompts at which a step never ends, by what the thread does meanwhile. */
export const hanging = { waits: [29, 29, 29], spins: [29, 29, 28] } as const;

/** A prompt at which the thread is in a call of the operating system while a file is there. */
export const stuck = [29, 29, 27];

/** An engine whose thread runs a ScriptedForward. */
export function startScripted(
  { model, ...script }: Script = {},
  options: Partial<EngineOptions> = {},
): Promise<Engine> {
  return startEngine(
    {
      folder: JSON.stringify({ model: { pages: 500, ...model }, ...script }),
      maxTokensInCache: 1,
      pageSize: 1,
      kvDtype: 'float32',
      device: 'cpu',
      maxBatchTokens: 64,
      prefillChunk: 16,
      maxRunning: 16,
      maxQueued: 100,
      prefixCache: true,
      ...options,
    },
    {
      module: new URL('./scripted-worker.mjs', import.meta.url),
      restartMilliseconds: 20,
    },
  );
}

export async function tokensOf(generation: Generation): Promise<number[]> {
  const tokens: number[] = [];
  for await (const { token } of generation) tokens.push(token);
  return tokens;
}
