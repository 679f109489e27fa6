import { readFileSync } from 'node:fs';
import type { Engine } from '../engine/contract.js';
import { loadModelText } from '../model/model-text.js';
import type { SamplingDefaults } from '../model/settings.js';
import { ApiKeys, parseKeys } from '../server/access/api-keys.js';
import { isLocal } from '../server/access/hosts.js';
import { Server } from '../server/server.js';
import { PromptEncoder } from '../text/prompt-encoder.js';
import { CliError } from './cli-error.js';
import type { HttpOptions } from './serve-options.js';
import { stopOnSignal } from './stop-on-signal.js';

/** Milliseconds without a word after which a stream shows that it lives. */
const heartbeat = 10_000;

/** Milliseconds after which a reader that takes nothing is cut off. */
const stall = 60_000;

/** What is served. */
export interface Served {
  readonly engine: Engine;
  /** A folder with the model's tokenizer and chat template. */
  readonly folder: string;
  readonly samplingDefaults: SamplingDefaults;
  /** Ends what else belongs to it, after server and engine. */
  close?(): Promise<void>;
}

/** Serves an engine until a signal comes. The address goes to stdout. */
export async function listen(served: Served, options: HttpOptions): Promise<void> {
  const { engine, folder, samplingDefaults } = served;
  const apiKeys = apiKeysOf(options);
  const text = await loadModelText(folder);
  const source = { module: new URL('../model/model-text.js', import.meta.url).href, folder };
  const prompts = new PromptEncoder(text, source, engine.info.contextLength);
  const server = new Server(engine, prompts, {
    apiKeys,
    samplingDefaults,
    allowedHosts: options.allowedHost,
    defaultMaxTokens: options.defaultMaxTokens,
    maxBodyBytes: options.maxBody * 2 ** 20,
    keepAliveSeconds: options.keepAlive,
    stream: { heartbeat, stall },
    log: { level: options.logLevel, stream: process.stderr },
  });
  const close = async (drain: number): Promise<void> => {
    await server.close(drain);
    await served.close?.();
  };
  stopOnSignal({ close }, engine, options.drain * 1000);
  try {
    const url = await server.listen(options.host, options.port);
    console.log(`${engine.info.name} at ${url}`);
  } catch (error) {
    await close(0);
    throw error;
  }
  if (!apiKeys && !isLocal(options.host)) {
    console.error('Everyone who reaches this address may use the model: --api-key-file has keys.');
  }
}

/** @throws {@link CliError} when there are none in the file. */
export function apiKeysOf({ apiKeyFile: file }: HttpOptions): ApiKeys | undefined {
  if (file === undefined) return undefined;
  let keys: string[];
  try {
    keys = parseKeys(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new CliError(`--api-key-file ${file}: ${(error as Error).message}`);
  }
  if (keys.length === 0) throw new CliError(`--api-key-file ${file}: there is no key in it`);
  if (keys.some((key) => /\s/.test(key))) {
    throw new CliError(`--api-key-file ${file}: a key has white space in it`);
  }
  return new ApiKeys(keys);
}
