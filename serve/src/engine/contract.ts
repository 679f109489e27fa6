/**
 * What the rooms of the server say to each other. `model` and `forward` compute logits, `scheduler`
 * and `sampler` turn them into tokens inside the engine's worker thread, `server` turns requests
 * of HTTP into {@link GenerationRequest} and tokens into text. Token ids cross these lines, text
 * never.
 */

/** What a model is, as far as scheduling and the API need it. */
export interface ModelInfo {
  /** The name clients see: the folder's, or what `--served-model-name` says. */
  readonly name: string;
  readonly vocabSize: number;
  /** Tokens of prompt and answer together. */
  readonly contextLength: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** All ids that end an answer, from generation_config, config and tokenizer. */
  readonly eosTokenIds: readonly number[];
  /** Hidden states can be had, for /v1/embeddings. */
  readonly embeddings: boolean;
  /** Longrope: prompts whose tokens + maxTokens exceed this use the long table. */
  readonly longRopeFrom?: number;
}

/** New tokens of one sequence in one forward pass. */
export interface ForwardEntry {
  readonly sequence: ForwardSequence;
  readonly tokens: Int32Array;
  /** Rows (indices into tokens) whose logits are wanted; none for all but a prompt's last chunk. */
  readonly logitsOf: readonly number[];
}

/** A sequence in the cache of a {@link Forward}. */
export interface ForwardSequence {
  /** Committed tokens; after creation those found in a stored prefix. */
  readonly length: number;
  truncate(length: number): void;
  fork(): ForwardSequence;
  /** Idempotent. Its pages go back, or stay as a stored prefix. */
  dispose(): void;
}

/** An embedding that is computed a piece of its text at a time. It holds pages of the cache. */
export interface ForwardEmbedding {
  /** Computes the next tokens. Rejects as {@link Forward.run} does, and nothing has changed then. */
  advance(tokens: Int32Array): Promise<void>;
  /** Hidden states after the final norm, mean over the tokens so far, length hiddenSize. */
  mean(): Float32Array;
  /** Gives the pages back. Idempotent. */
  dispose(): void;
}

/** Stored prefixes that came and went, by the hashes of their pages (prefix-hash.ts). */
export interface PrefixChange {
  readonly added: readonly number[];
  readonly removed: readonly number[];
  /** All that were there before are gone. */
  readonly reset?: boolean;
}

/** A text whose first tokens are stored as a prefix. */
export interface StoredText {
  /** See prefixScope. */
  readonly scope: string;
  readonly tokens: Int32Array;
}

/** A stored prefix as bytes, for another cache of the same model and dtype. */
export interface SavedPrefix {
  /** How many of its text's tokens it has. */
  readonly tokens: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Pages of the cache. */
export interface CacheCounts {
  readonly pages: number;
  readonly free: number;
  readonly used: number;
  readonly stored: number;
  readonly pageSize: number;
}

/** The model with its cache, in the engine's thread. One call at a time. */
export interface Forward {
  readonly info: ModelInfo;
  /**
   * @param tokens the prompt; the sequence shares the pages of its longest stored prefix, at most
   * tokens.length - 1 tokens.
   * @param options.scope prefixes are found under the same scope alone.
   * @param options.longRope the long table of a longrope model, for all of the sequence's life.
   */
  createSequence(
    tokens: Int32Array,
    options: { scope: string; longRope: boolean },
  ): ForwardSequence;
  /**
   * Feeds the tokens of all entries in one packed pass. All or nothing: when it rejects, no
   * sequence has changed. Rejects with code ERR_CACHE_FULL (field `missingPages`) when slots are
   * lacking.
   * @returns float32 logits, one row of vocabSize per wanted row, in the order of the entries.
   * Valid until the next call.
   */
  run(entries: readonly ForwardEntry[]): Promise<Float32Array[]>;
  /** Begins an embedding of a text of so many tokens, of a model whose hidden states are known. */
  createEmbedding?(total: number): ForwardEmbedding;
  counts(): CacheCounts;
  /** What changed of the stored prefixes since the last call; undefined: nothing. */
  prefixChange?(): PrefixChange | undefined;
  /** Texts that are the longest of those stored, the one that grew last first. */
  storedTexts?(): StoredText[];
  /** The longest stored prefix of a text; undefined: none of it is stored. */
  savePrefix?(text: StoredText): Promise<SavedPrefix | undefined>;
  /** Stores a prefix that was saved. @returns its tokens; 0: there is no room. */
  loadPrefix?(bytes: Uint8Array, scope: string): number;
  close(): Promise<void>;
}

/**
 * How tokens are drawn. Order: penalties, logit_bias, grammar, temperature, top_k, top_p, min_p.
 */
export interface SamplingParams {
  /** 0: the likeliest token. */
  readonly temperature: number;
  /** 0: off. */
  readonly topK: number;
  /** 1: off. */
  readonly topP: number;
  /** 0: off. */
  readonly minP: number;
  /** Over prompt and answer; 1: off. */
  readonly repetitionPenalty: number;
  /** Over the answer; 0: off. */
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly logitBias: ReadonlyMap<number, number>;
  /** Same seed, same tokens, whoever else is served. Default: drawn by the engine. */
  readonly seed?: number;
}

/** What an answer must look like. */
export type ResponseFormat =
  | { readonly type: 'text' }
  | { readonly type: 'json_object' }
  | { readonly type: 'json_schema'; readonly schema: unknown };

/** One answer to be made. */
export interface GenerationRequest {
  readonly prompt: Int32Array;
  /**
   * The answer's first tokens, when another engine made them: it goes on behind them as that one
   * would have, with the same draws, penalties and grammar. Only its further tokens are told. Its
   * group is itself alone.
   */
  readonly generated?: Int32Array;
  /** At least 1; prompt and answer together never exceed contextLength: then 'length'. */
  readonly maxTokens: number;
  /** Before this many tokens nothing that ends the answer can be drawn. */
  readonly minTokens: number;
  /** The model's eos ids are tokens like others. */
  readonly ignoreEos: boolean;
  /** Beside the model's own eos ids. */
  readonly stopTokenIds: readonly number[];
  readonly sampling: SamplingParams;
  readonly responseFormat: ResponseFormat;
  /** The likeliest tokens told with each one; undefined: no logprobs at all. */
  readonly topLogprobs?: number;
  /** Prompt lookup decoding: the most draft tokens a step; 0: off. Tokens stay what they were. */
  readonly speculativeTokens: number;
  /** Greater goes first. */
  readonly priority: number;
  /** Whose it is: the queue is fair among users. */
  readonly user: string;
  /** Stored prefixes are shared within a scope alone. */
  readonly cacheScope: string;
}

/** One token of an answer. A token that ends the answer (eos, stop id) is told too, last. */
export interface TokenEvent {
  readonly token: number;
  /** Natural logarithm, of the model's own distribution (before temperature and penalties). */
  readonly logprob?: number;
  readonly top?: readonly { readonly token: number; readonly logprob: number }[];
}

export type FinishReason = 'stop' | 'length' | 'abort' | 'error';

/** How an answer ended. */
export interface Finish {
  readonly reason: FinishReason;
  /** Set when a token ended it; its TokenEvent was the last. */
  readonly stopToken?: number;
  readonly promptTokens: number;
  /** Of the prompt, found in a stored prefix. */
  readonly cachedTokens: number;
  readonly completionTokens: number;
  /** Of drafts, accepted. */
  readonly acceptedTokens: number;
  readonly error?: Error;
}

/** An answer under way. */
export interface Generation extends AsyncIterable<TokenEvent> {
  /** Resolves when the answer has ended, however; never rejects. */
  readonly finished: Promise<Finish>;
  /** Its pages return before the next step. Idempotent. */
  cancel(): void;
}

/** What /metrics, /health and the chat page show; computed when asked. */
export interface EngineStats {
  readonly running: number;
  readonly waiting: number;
  readonly cache: CacheCounts;
  readonly promptTokens: number;
  readonly generationTokens: number;
  readonly prefixQueries: number;
  readonly prefixHits: number;
  readonly preemptions: number;
  readonly draftTokens: number;
  readonly acceptedTokens: number;
  readonly steps: number;
  /** Tokens of the last step, and its milliseconds. */
  readonly batchTokens: number;
  readonly stepMilliseconds: number;
  readonly finished: Readonly<Record<FinishReason, number>>;
  /** Of engines in other processes, see cluster/. */
  readonly cluster?: {
    readonly workers: Readonly<Record<'ready' | 'draining' | 'unavailable', number>>;
    /** Times that a worker left something undone, and another one went on with it. */
    readonly moved: number;
    readonly usage: WorkerUsage;
  };
}

/** What processes of workers take, and what they moved to each other. All but memory only grows. */
export interface WorkerUsage {
  readonly memoryBytes: number;
  readonly processorSeconds: number;
  /** Left in the object store for other workers, and taken from there. */
  readonly savedTokens: number;
  readonly savedBytes: number;
  readonly loadedTokens: number;
  readonly loadedBytes: number;
  /** Of those taken, found by the prompt that they were taken for. */
  readonly reusedTokens: number;
}

/**
 * What the engine refuses before anything is queued, and why answers end with 'error'; `status` is
 * HTTP's.
 */
export interface EngineErrorShape extends Error {
  readonly code:
    | 'context_length_exceeded'
    | 'queue_full'
    | 'invalid_request'
    | 'engine_unavailable'
    | 'cache_too_small'
    | 'model_failed';
  readonly status: 400 | 429 | 500 | 503;
  /** Seconds, for Retry-After. */
  readonly retryAfter?: number;
}

/** The engine as the server's thread sees it. */
export interface Engine {
  readonly info: ModelInfo;
  /** @throws {@link EngineErrorShape} at once, when the request can't be queued. */
  generate(request: GenerationRequest): Generation;
  /**
   * Several answers to one prompt (`n`): queued or refused together, the prompt is computed once.
   * The requests have the same prompt, maxTokens, user, priority, cacheScope and type of
   * responseFormat; without a seed each draws its own. Each is cancelled for itself.
   * @throws {@link EngineErrorShape}
   */
  generateGroup(requests: readonly GenerationRequest[]): Generation[];
  /** @param signal cancels it: it rejects with the signal's reason, and nothing more is computed. */
  embed(tokens: Int32Array, signal?: AbortSignal): Promise<Float32Array>;
  stats(): Promise<EngineStats>;
  /** Hears of the stored prefixes from now on, when the engine was started with `prefixChanges`. */
  watchPrefixes?(listener: (change: PrefixChange) => void): void;
  /** As those of {@link Forward}, when the engine was started with `prefixChanges`. */
  storedTexts?(): Promise<StoredText[]>;
  savePrefix?(text: StoredText): Promise<SavedPrefix | undefined>;
  loadPrefix?(bytes: Uint8Array, scope: string): Promise<number>;
  /** False while the worker is being started again after it died or hung. */
  readonly healthy: boolean;
  /** The worker hangs and has not ended yet; one that does not end takes a new process. */
  readonly stuck: boolean;
  /** Ends what runs by `deadline` milliseconds from now, then the worker. */
  close(deadline?: number): Promise<void>;
}

/** What an engine is started with. */
export interface EngineOptions {
  readonly folder: string;
  readonly modelName?: string;
  /** Size of the cache. */
  readonly maxTokensInCache: number;
  readonly pageSize: number;
  readonly kvDtype: 'float32' | 'float16' | 'bfloat16' | 'int8';
  readonly device: string;
  readonly threads?: number;
  /** Tokens of all sequences in one step. */
  readonly maxBatchTokens: number;
  /** Tokens of a prompt fed in one step, beside the decodes. */
  readonly prefillChunk: number;
  readonly maxRunning: number;
  readonly maxQueued: number;
  readonly prefixCache: boolean;
  /** Decode steps on a GPU are replayed as CUDA graphs. Default true. */
  readonly decodeGraphs?: boolean;
  /** Stored prefixes are told, see {@link Engine.watchPrefixes}. */
  readonly prefixChanges?: boolean;
  /** Seconds after which a step is taken to hang. Default 120. */
  readonly stepTimeout?: number;
  /** Seconds after which loading the model is. Default 600. */
  readonly loadTimeout?: number;
}
