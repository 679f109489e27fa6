/** A way to serve a model. */
export interface Contestant {
  /**
   * Answers one prompt. Requests may come while others are answered; whether they wait is the
   * contestant's own matter.
   *
   * @param told called whenever a token of the answer is there.
   * @returns the answer; empty where it comes as text.
   */
  answer(prompt: Int32Array, told: () => void): Promise<number[]>;
  /** Most memory that was held at once, in bytes; undefined where the system does not say. */
  peakMemory?(): number | undefined;
  close(): Promise<void>;
}

/** How a contestant is made, in a process of its own. */
export type Start = (given: Case) => Promise<Contestant>;

export const contestantNames = [
  'engine',
  'server',
  'loop',
  'batch',
  'transformers',
  'llama-cpp',
] as const;

export type ContestantName = (typeof contestantNames)[number];

/** What they are called in tables and charts; our own begin with `flash-attention`. */
export const titles: Readonly<Record<ContestantName, string>> = {
  engine: 'flash-attention-serve, engine',
  server: 'flash-attention-serve, HTTP',
  loop: 'onnxruntime-node, as usual',
  batch: 'onnxruntime-node, best batch',
  transformers: 'transformers.js',
  'llama-cpp': 'node-llama-cpp',
};

/** Requests come when the earlier ones are answered (closed), or when they come (open). */
export type Load =
  | { readonly kind: 'closed'; readonly users: number; readonly requests: number }
  | { readonly kind: 'open'; readonly rate: number; readonly seconds: number };

/** One measurement of one contestant. */
export interface Case {
  readonly contestant: ContestantName;
  /** Closed: so many users send so many requests each. Open: requests a second, for so long. */
  readonly load: Load;
  /** Answers that may be under way at once. */
  readonly concurrency: number;
  /** Tokens of each prompt. */
  readonly context: number;
  /** Tokens of each answer. */
  readonly newTokens: number;
  /** The prompts differ in their last eight tokens only, and one like them was answered before. */
  readonly shared: boolean;
  readonly threads: number;
  readonly model: ModelFiles;
  /** Of prompts and arrivals: another one in each round, the same for all contestants. */
  readonly seed: number;
}

/** The same weights for everybody. */
export interface ModelFiles {
  /** As transformers.js reads it. */
  readonly folder: string;
  readonly graph: string;
  readonly gguf: string;
}

/** What became of one request; milliseconds since the load began. */
export interface Timeline {
  /** When it was due, which is when it was sent unless the event loop was held. */
  readonly due: number;
  /** When its tokens came. */
  readonly tokens: number[];
  readonly end: number;
  readonly answer: number[];
}

/** What a {@link Case} came to. */
export interface Sample {
  /** In the order in which they were due. */
  readonly timelines: readonly Timeline[];
  /** The most that the event loop of the contestant was held, in milliseconds. */
  readonly eventLoop?: number;
  /** In bytes. */
  readonly peakMemory?: number;
}
