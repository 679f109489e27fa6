import type { Forward } from './contract.js';
import { EngineError } from './errors.js';
import { errorData, type FromWorker, type Transfer } from './protocol.js';

/** Prefixes that leave the cache and come into it, one at a time, between two steps. */
export class Transfers {
  readonly #forward: Forward;
  readonly #post: (message: FromWorker, moved?: ArrayBuffer[]) => void;
  readonly #waiting: Transfer[] = [];

  constructor(forward: Forward, post: (message: FromWorker, moved?: ArrayBuffer[]) => void) {
    this.#forward = forward;
    this.#post = post;
  }

  get size(): number {
    return this.#waiting.length;
  }

  add(transfer: Transfer): void {
    this.#waiting.push(transfer);
  }

  async step(): Promise<void> {
    const transfer = this.#waiting.shift();
    if (transfer === undefined) return;
    const { id } = transfer;
    try {
      const value = await this.#do(transfer);
      const moved = typeof value === 'object' && 'bytes' in value ? [value.bytes.buffer] : [];
      this.#post({ type: 'result', id, value }, moved);
    } catch (error) {
      this.#post({ type: 'rejection', id, error: errorData(error) });
    }
  }

  #do(transfer: Transfer) {
    const { storedTexts, savePrefix, loadPrefix } = this.#forward;
    if (!storedTexts || !savePrefix || !loadPrefix) {
      throw new EngineError('invalid_request', 'The cache has no prefixes to move.');
    }
    if (transfer.type === 'texts') return storedTexts.call(this.#forward);
    if (transfer.type === 'save') return savePrefix.call(this.#forward, transfer.text);
    return loadPrefix.call(this.#forward, transfer.bytes, transfer.scope);
  }
}
