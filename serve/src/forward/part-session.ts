import { InferenceSession, type Tensor } from 'onnxruntime-node';
import type { Part } from '../cutter/part.js';

/** Tensors by name. */
export type Tensors = Readonly<Record<string, Tensor>>;

/** A part of a model that onnxruntime has loaded. */
export class PartSession {
  readonly inputs: readonly string[];
  readonly #session: InferenceSession;

  private constructor({ inputs }: Part, session: InferenceSession) {
    this.inputs = inputs;
    this.#session = session;
  }

  /**
   * @param folder absolute: where external data are.
   * @param threads that one run may take.
   */
  static async load(part: Part, folder: string, threads: number): Promise<PartSession> {
    const session = await InferenceSession.create(part.bytes, {
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
    return new PartSession(part, session);
  }

  /** @param feeds at least its inputs. */
  async run(feeds: Tensors): Promise<Tensors> {
    const own = this.inputs.map((name) => [name, feeds[name]] as const);
    return this.#session.run(Object.fromEntries(own));
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}
