import { EngineError } from '../../engine/errors.js';
import type { WorkEvent } from '../messages.js';
import type { Work } from './work.js';

/** An embedding that a worker makes, from its beginning wherever it is tried again. */
export class RemoteEmbedding implements Work {
  readonly received = 0;
  readonly divisible = false;
  readonly vector: Promise<Float32Array>;
  readonly #ids: Int32Array;
  readonly #signal: AbortSignal | undefined;
  #resolve!: (vector: Float32Array) => void;
  #reject!: (reason: unknown) => void;

  /** @param signal aborts it: it rejects with the reason at once. */
  constructor(ids: Int32Array, signal?: AbortSignal) {
    this.#ids = ids;
    this.#signal = signal;
    this.vector = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  get cancelled(): boolean {
    return this.#signal?.aborted ?? false;
  }

  get tokens(): number {
    return this.#ids.length;
  }

  /** It finds no stored prefixes, and leaves none. */
  pages(): readonly number[] {
    return [];
  }

  run(): { tokens: Int32Array } {
    return { tokens: this.#ids };
  }

  receive(event: WorkEvent): boolean {
    if (!('embedding' in event)) return true;
    const bytes = Uint8Array.from(Buffer.from(event.embedding, 'base64'));
    this.#resolve(new Float32Array(bytes.buffer));
    return true;
  }

  abort(): void {
    this.#reject(this.#signal?.reason);
  }

  end(error: Error = new EngineError('engine_unavailable', 'The server is shutting down.')): void {
    this.#reject(error);
  }
}
