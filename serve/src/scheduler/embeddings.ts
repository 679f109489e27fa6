import type { Forward, ForwardEmbedding } from '../engine/contract.js';
import { asEngineError, EngineError } from '../engine/errors.js';
import type { SchedulerLimits } from './plan.js';
import { isCacheFull } from './scheduler.js';

/** What becomes of a text; one of both, once. */
export interface EmbeddingOutput {
  embedded(id: number, vector: Float32Array): void;
  refused(id: number, error: EngineError): void;
}

interface Text {
  readonly id: number;
  readonly tokens: Int32Array;
  /** Tokens that are computed. */
  done: number;
  embedding?: ForwardEmbedding;
}

/**
 * Texts to be embedded, one after the other, in pieces that leave room for all answers to decode.
 * Pieces are cut alike, whoever else is served.
 */
export class Embeddings {
  readonly #pieceLength: number;
  readonly #forward: Forward;
  readonly #output: EmbeddingOutput;
  readonly #texts: Text[] = [];

  constructor(
    forward: Forward,
    { prefillChunk, maxBatchTokens, maxRunning }: SchedulerLimits,
    output: EmbeddingOutput,
  ) {
    this.#pieceLength = Math.max(1, Math.min(prefillChunk, maxBatchTokens - maxRunning));
    this.#forward = forward;
    this.#output = output;
  }

  get size(): number {
    return this.#texts.length;
  }

  add(id: number, tokens: Int32Array): void {
    this.#texts.push({ id, tokens, done: 0 });
  }

  /** Computes the next piece. @returns its tokens; 0 when nothing waits. */
  async step(): Promise<number> {
    const [text] = this.#texts;
    if (text === undefined) return 0;
    const piece = text.tokens.subarray(text.done, text.done + this.#pieceLength);
    try {
      if (this.#forward.createEmbedding === undefined) {
        throw new EngineError('invalid_request', 'The model gives no hidden states to embed with.');
      }
      text.embedding ??= this.#forward.createEmbedding(text.tokens.length);
      await text.embedding.advance(piece);
      text.done += piece.length;
      if (text.done === text.tokens.length) {
        this.#output.embedded(text.id, text.embedding.mean());
        this.#leave();
      }
    } catch (error) {
      this.#refuse(error);
    }
    return piece.length;
  }

  /** Answers need the pages: the text may come again. @returns whether there were any. */
  giveUpPages(): boolean {
    if (this.#texts[0]?.embedding === undefined) return false;
    this.#refuse(cacheFull());
    return true;
  }

  #refuse(error: unknown): void {
    const found = isCacheFull(error) ? cacheFull() : asEngineError(error);
    this.#output.refused(this.#texts[0].id, found);
    this.#leave();
  }

  #leave(): void {
    this.#texts.shift()?.embedding?.dispose();
  }
}

function cacheFull(): EngineError {
  return new EngineError('queue_full', 'The cache is full.');
}
