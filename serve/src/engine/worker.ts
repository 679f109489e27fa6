// What the engine's thread runs.
import { parentPort, workerData } from 'node:worker_threads';
import { OnnxForward } from '../forward/onnx-forward.js';
import { Grammars } from '../grammar/grammars.js';
import type { EngineOptions } from './contract.js';
import { type EngineParts, hostEngine } from './host.js';
import type { WorkerData } from './protocol.js';

async function openModel(options: EngineOptions): Promise<EngineParts> {
  const forward = await OnnxForward.load(options);
  const { vocabSize, eosTokenIds } = forward.info;
  const grammars = new Grammars({ folder: options.folder, vocabSize, eosTokenIds });
  return { forward, constrain: grammars.constrain, closeGrammars: () => grammars.close() };
}

if (parentPort === null) throw new Error('This module is run in a thread of the engine.');
await hostEngine(parentPort, workerData as WorkerData, openModel);
