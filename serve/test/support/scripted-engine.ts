import type {
  Engine,
  EngineStats,
  Finish,
  FinishReason,
  Generation,
  GenerationRequest,
  ModelInfo,
  TokenEvent,
} from '../../src/engine/contract.js';
import { EngineError } from '../../src/engine/errors.js';
import { ids, vocabSize } from './byte-text.mjs';

/** The tokens that an answer would have if nothing ended it. */
export type Script = (
  request: GenerationRequest,
  index: number,
) => AsyncIterable<TokenEvent> | Iterable<TokenEvent>;

/** Tokens of a text, with made-up probabilities where they are asked for. */
export function* tokensOf(text: string, { topLogprobs }: GenerationRequest): Iterable<TokenEvent> {
  for (const token of new TextEncoder().encode(text)) {
    if (topLogprobs === undefined) {
      yield { token };
      continue;
    }
    const top = Array.from({ length: topLogprobs }, (_, rank) => {
      return { token: (token + rank) % 256, logprob: -0.5 - rank };
    });
    yield { token, logprob: -0.5, top };
  }
}

/** Says the text and ends. */
export const saying = (text: string): Script =>
  function* (request) {
    yield* tokensOf(text, request);
    yield { token: ids.end };
  };

/** Says nothing and doesn't end. */
export const silent: Script = () => ({
  [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }),
});

/** An engine that says what its script says. Pages of its cache are answers under way. */
export class ScriptedEngine implements Engine {
  readonly requests: GenerationRequest[] = [];
  readonly live = new Set<ScriptedGeneration>();
  readonly info: ModelInfo;
  script: Script;
  healthy = true;
  stuck = false;
  maxLive = 1000;
  /** Of the prompt, found in a stored prefix. */
  cachedTokens = 0;
  #closed = false;
  readonly #finished: Record<FinishReason, number> = { stop: 0, length: 0, abort: 0, error: 0 };

  constructor(script: Script, info: Partial<ModelInfo> = {}) {
    this.script = script;
    this.info = {
      name: 'test-model',
      vocabSize,
      contextLength: 4096,
      layers: 1,
      heads: 1,
      kvHeads: 1,
      headDim: 8,
      eosTokenIds: [ids.end],
      embeddings: false,
      ...info,
    };
  }

  generate(request: GenerationRequest): Generation {
    return this.generateGroup([request])[0];
  }

  generateGroup(requests: readonly GenerationRequest[]): Generation[] {
    if (!this.healthy || this.#closed) {
      throw new EngineError('engine_unavailable', 'The engine starts again.', { retryAfter: 2 });
    }
    if (this.live.size + requests.length > this.maxLive) {
      throw new EngineError('queue_full', 'Too many answers are under way.', { retryAfter: 3 });
    }
    return requests.map((request) => {
      this.requests.push(request);
      const tokens = this.script(request, this.requests.length - 1);
      const generation = new ScriptedGeneration(this, request, tokens);
      this.live.add(generation);
      generation.finished.then(({ reason }) => {
        this.live.delete(generation);
        this.#finished[reason]++;
      });
      return generation;
    });
  }

  async embed(tokens: Int32Array): Promise<Float32Array> {
    return Float32Array.of(tokens.length, 0.5, -0.25);
  }

  async stats(): Promise<EngineStats> {
    if (!this.healthy) throw new EngineError('engine_unavailable', 'The engine starts again.');
    const used = this.live.size;
    return {
      running: used,
      waiting: 0,
      cache: { pages: 100, free: 100 - used, used, stored: 0, pageSize: 16 },
      ...{ promptTokens: 0, generationTokens: 0, prefixQueries: 0, prefixHits: 0 },
      ...{ preemptions: 0, draftTokens: 0, acceptedTokens: 0, steps: 0 },
      ...{ batchTokens: 0, stepMilliseconds: 0 },
      finished: { ...this.#finished },
    };
  }

  /** The worker dies. */
  die(): void {
    this.healthy = false;
    const error = new EngineError('engine_unavailable', 'The engine died.', { retryAfter: 2 });
    for (const generation of this.live) generation.finish('error', error);
  }

  async close(deadline = 0): Promise<void> {
    this.#closed = true;
    const all = [...this.live];
    const late = setTimeout(() => {
      for (const generation of all) generation.cancel();
    }, deadline);
    await Promise.all(all.map(({ finished }) => finished));
    clearTimeout(late);
  }
}

class ScriptedGeneration implements Generation {
  readonly finished: Promise<Finish>;
  readonly #engine: ScriptedEngine;
  readonly #request: GenerationRequest;
  readonly #tokens: AsyncIterator<TokenEvent> | Iterator<TokenEvent>;
  #settle!: (finish: Finish) => void;
  #ended: Finish | undefined;
  #count = 0;

  constructor(
    engine: ScriptedEngine,
    request: GenerationRequest,
    tokens: AsyncIterable<TokenEvent> | Iterable<TokenEvent>,
  ) {
    this.#engine = engine;
    this.#request = request;
    this.#tokens =
      Symbol.asyncIterator in tokens ? tokens[Symbol.asyncIterator]() : tokens[Symbol.iterator]();
    this.finished = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  cancel(): void {
    this.finish('abort');
  }

  finish(reason: FinishReason, error?: Error, stopToken?: number): void {
    if (this.#ended) return;
    this.#ended = {
      reason,
      error,
      stopToken,
      promptTokens: this.#request.prompt.length,
      cachedTokens: this.#engine.cachedTokens,
      completionTokens: this.#count,
      acceptedTokens: 0,
    };
    this.#settle(this.#ended);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TokenEvent> {
    const { ignoreEos, stopTokenIds, maxTokens } = this.#request;
    const ends = [...(ignoreEos ? [] : this.#engine.info.eosTokenIds), ...stopTokenIds];
    while (!this.#ended) {
      // A cancelled answer doesn't wait for its script.
      const next = await Promise.race([this.#tokens.next(), this.finished.then(() => undefined)]);
      if (!next || this.#ended) break;
      if (next.done) {
        this.finish('length');
        break;
      }
      this.#count++;
      yield next.value;
      if (ends.includes(next.value.token)) this.finish('stop', undefined, next.value.token);
      else if (this.#count === maxTokens) this.finish('length');
    }
  }
}
