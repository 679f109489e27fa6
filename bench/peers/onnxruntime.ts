// onnxruntime-node, when it is installed (`npm run bench -- --install-peers`).
import { createRequire } from 'node:module';
import { type OnnxGraph, onnxModel } from './onnx-model.js';

/** The part of onnxruntime-node used here, which has no types without the package. */
interface OrtTensor {
  readonly data: Float32Array;
}

interface OrtSession {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}

interface Ort {
  readonly Tensor: new (type: string, data: unknown, shape: readonly number[]) => OrtTensor;
  readonly InferenceSession: {
    create(model: Uint8Array, options: Record<string, unknown>): Promise<OrtSession>;
  };
}

export type Feed = Float32Array | Int32Array | Int8Array;

/** A loaded model with its inputs; every run gives its only output. */
export interface OrtModel {
  run(): Promise<Float32Array>;
  dispose(): Promise<void>;
}

export interface OnnxRuntime {
  readonly version: string;
  /** `feeds` by the names of the graph's inputs; the arrays are not copied. */
  load(graph: OnnxGraph, feeds: Readonly<Record<string, Feed>>): Promise<OrtModel>;
}

/** Beside the bundle; --install-peers puts it there. */
const peersFolder = './peers/';

/** Null when it is not installed. */
export function findOnnxRuntime(threads: number): OnnxRuntime | null {
  const require = createRequire(new URL(peersFolder, import.meta.url));
  let ort: Ort;
  let version: string;
  try {
    ort = require('onnxruntime-node') as Ort;
    version = (require('onnxruntime-node/package.json') as { version: string }).version;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return null;
    throw error;
  }
  return { version, load: (graph, feeds) => load(ort, threads, graph, feeds) };
}

async function load(
  ort: Ort,
  threads: number,
  graph: OnnxGraph,
  feeds: Readonly<Record<string, Feed>>,
): Promise<OrtModel> {
  const session = await ort.InferenceSession.create(onnxModel(graph), {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
  });
  const tensors = Object.fromEntries(
    graph.inputs.map(({ name, type, shape }) => [name, new ort.Tensor(type, feeds[name], shape)]),
  );
  const output = graph.outputs[0].name;
  return {
    run: async () => (await session.run(tensors))[output].data,
    dispose: () => session.release(),
  };
}
