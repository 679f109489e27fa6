// Encodes long prompts in a thread of its own.
import { workerData } from 'piscina';
import type { ModelText } from './contract.js';
import { type EncodeReply, type EncodeTask, encodeTask } from './encode-task.js';

/** Where a worker finds its copy of the tokenizer. */
export interface TextSource {
  /** URL of a module with `loadModelText(folder): Promise<ModelText>`. */
  readonly module: string;
  readonly folder: string;
}

async function load({ module, folder }: TextSource): Promise<ModelText> {
  const { loadModelText } = await import(module);
  return loadModelText(folder);
}

const loaded = load(workerData);

export default async function encode(task: EncodeTask): Promise<EncodeReply> {
  return encodeTask(await loaded, task);
}
