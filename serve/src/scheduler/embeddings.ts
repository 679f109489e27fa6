import type { Forward, ForwardEmbedding } from '../engine/contract.js';
import { asEngineError, EngineError, isCacheFull } from '../engine/errors.js';
import type { SchedulerLimits } from './plan.js';

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
 * Texts to be embedded, one after the other, in pieces that leave room for all answers to decode,
 * but for one where there is no more. Pieces are cut alike, whoever else is served.
 */
export class Embeddings {
  readonly #pieceLength: number;
  readonly #forward: Forward;
  readonly #output: EmbeddingOutput;
  readonly #texts: Text[] = [];
  /** One that is cancelled meanwhile is no longer among the others. */
  #computing: Text | undefined;

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

  /** Its text is told nothing, and gives back what it holds once its piece is computed. */
  cancel(id: number): void {
    const at = this.#texts.findIndex((text) => text.id === id);
    if (at < 0) return;
    const [text] = this.#texts.splice(at, 1);
    if (text !== this.#computing) text.embedding?.dispose();
  }

  /** Computes the next piece. @returns its tokens; 0 when nothing waits. */
  async step(): Promise<number> {
    const [text] = this.#texts;
    if (text === undefined) return 0;
    const piece = text.tokens.subarray(text.done, text.done + this.#pieceLength);
    const isWanted = () => this.#texts[0] === text;
    this.#computing = text;
    try {
      if (this.#forward.createEmbedding === undefined) {
        throw new EngineError('invalid_request', 'The model gives no hidden states to embed with.');
      }
      text.embedding ??= this.#forward.createEmbedding(text.tokens.length);
      await text.embedding.advance(piece);
      text.done += piece.length;
      if (isWanted() && text.done === text.tokens.length) {
        this.#output.embedded(text.id, text.embedding.mean());
        this.#leave();
      }
    } catch (error) {
      if (isWanted()) this.#refuse(error);
    } finally {
      this.#computing = undefined;
      if (!isWanted()) text.embedding?.dispose();
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
