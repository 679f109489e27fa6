import { readFileSync } from 'node:fs';
import { startEngine } from '../engine/engine.js';
import { loadModelText } from '../model/model-text.js';
import { readSettings } from '../model/settings.js';
import { ApiKeys, parseKeys } from '../server/access/api-keys.js';
import { isLocal } from '../server/access/hosts.js';
import { Server } from '../server/server.js';
import { PromptEncoder } from '../text/prompt-encoder.js';
import { CliError } from './cli-error.js';
import type { ServeOptions } from './serve-options.js';
import { stopOnSignal } from './stop-on-signal.js';

/** Milliseconds without a word after which a stream shows that it lives. */
const heartbeat = 10_000;

/** Milliseconds after which a reader that takes nothing is cut off. */
const stall = 60_000;

/** Serves the model in the folder until a signal comes. The address goes to stdout. */
export async function serve(folder: string, options: ServeOptions): Promise<void> {
  const apiKeys = options.apiKeyFile === undefined ? undefined : readKeys(options.apiKeyFile);
  console.error(`Loading ${folder}`);
  const { defaults } = readSettings(folder);
  const text = await loadModelText(folder);
  const { servedModelName: modelName, ...rest } = options;
  const engine = await startEngine({ folder, modelName, ...rest });
  const source = { module: new URL('../model/model-text.js', import.meta.url).href, folder };
  const prompts = new PromptEncoder(text, source, engine.info.contextLength);
  const server = new Server(engine, prompts, {
    apiKeys,
    allowedHosts: options.allowedHost,
    samplingDefaults: defaults,
    defaultMaxTokens: options.defaultMaxTokens,
    maxBodyBytes: options.maxBody * 2 ** 20,
    keepAliveSeconds: options.keepAlive,
    stream: { heartbeat, stall },
    log: { level: options.logLevel, stream: process.stderr },
  });
  stopOnSignal(server, engine, options.drain * 1000);
  try {
    const url = await server.listen(options.host, options.port);
    console.log(`${engine.info.name} at ${url}`);
  } catch (error) {
    await server.close(0);
    throw error;
  }
  if (!apiKeys && !isLocal(options.host)) {
    console.error('Everyone who reaches this address may use the model: --api-key-file has keys.');
  }
}

function readKeys(file: string): ApiKeys {
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
