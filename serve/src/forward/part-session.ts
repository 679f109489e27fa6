import { createRequire } from 'node:module';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Part } from '../cutter/part.js';

/** Tensors by name. */
export type Tensors = Readonly<Record<string, Tensor>>;

/** What onnxruntime-node wraps in promises. */
interface Binding {
  readonly initOrt: () => void;
  readonly binding: { readonly InferenceSession: new () => NativeSession };
}

interface NativeSession {
  loadModel(
    buffer: ArrayBufferLike,
    offset: number,
    length: number,
    options: InferenceSession.SessionOptions,
  ): void;
  run(feeds: Tensors, fetches: Readonly<Record<string, null>>, options: object): Tensors;
  dispose(): void;
}

/**
 * The addon beneath onnxruntime-node, whose version is pinned. Its own promises do not make a run
 * asynchronous, they put it off to another turn of the event loop: of a token's dozens of runs
 * that takes more time than some of them.
 */
const { initOrt, binding }: Binding = createRequire(import.meta.url)(
  'onnxruntime-node/dist/binding.js',
);

/** A part of a model that onnxruntime has loaded. */
export class PartSession {
  readonly #inputs: readonly string[];
  readonly #fetches: Readonly<Record<string, null>>;
  readonly #session: NativeSession;

  /**
   * @param folder absolute: where external data are.
   * @param threads that one run may take.
   * @throws what onnxruntime throws.
   */
  constructor({ inputs, outputs, bytes }: Part, folder: string, threads: number) {
    this.#inputs = inputs;
    this.#fetches = Object.fromEntries(outputs.map((name) => [name, null]));
    initOrt();
    this.#session = new binding.InferenceSession();
    this.#session.loadModel(bytes.buffer, bytes.byteOffset, bytes.byteLength, {
      intraOpNumThreads: threads,
      executionMode: 'sequential',
      logSeverityLevel: 4, // errors are thrown
      // Every session would keep the memory of its largest step, and a plan for each length.
      enableCpuMemArena: false,
      enableMemPattern: false,
      extra: {
        session: {
          model_external_initializers_file_folder_path: folder,
          // A thread that sleeps between two operators takes longer to wake than they take. Sessions
          // take turns, and others need the cores, too: none looks for work for long, or after a run.
          intra_op: { allow_spinning: '1', spin_duration_us: '20' },
          force_spinning_stop: '1',
        },
      },
    });
  }

  /**
   * Computes its outputs, on this thread and those of its pool.
   *
   * @param feeds at least its inputs.
   * @throws what onnxruntime throws.
   */
  run(feeds: Tensors): Tensors {
    const own: Record<string, Tensor> = {};
    for (const name of this.#inputs) own[name] = feeds[name];
    return this.#session.run(own, this.#fetches, {});
  }

  release(): void {
    this.#session.dispose();
  }
}
