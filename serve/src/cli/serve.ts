import { startEngine } from '../engine/engine.js';
import { readSettings } from '../model/settings.js';
import { serveCluster } from './cluster.js';
import { apiKeysOf, listen } from './listen.js';
import type { ServeOptions } from './serve-options.js';

/** Serves the model in the folder until a signal comes, as a cluster of one machine with `--nats`. */
export async function serve(folder: string, options: ServeOptions): Promise<void> {
  apiKeysOf(options); // what is wrong with them shows before the model is loaded
  if (options.nats !== undefined) return serveCluster(folder, options);
  console.error(`Loading ${folder}`);
  const { defaults } = readSettings(folder);
  const { servedModelName: modelName, ...rest } = options;
  const engine = await startEngine({ folder, modelName, ...rest });
  await listen({ engine, folder, samplingDefaults: defaults }, options);
}
