/** A way to serve a model, with prompts of several users at once. */
export interface Contestant {
  /**
   * Answers all prompts, from the same moment on.
   *
   * @param told called with the user whenever a token of the answer is there.
   * @returns the answers.
   */
  answer(
    prompts: readonly Int32Array[],
    newTokens: number,
    told: (user: number) => void,
  ): Promise<number[][]>;
  close(): Promise<void>;
}

export interface Case {
  readonly contestant: 'engine' | 'loop' | 'batch';
  readonly users: number;
  /** Tokens of each prompt. */
  readonly context: number;
  readonly newTokens: number;
  /** The prompts differ in their last tokens only, and one like them was answered before. */
  readonly shared: boolean;
  readonly threads: number;
  readonly folder: string;
}

/** Milliseconds, bytes and tokens of one {@link Case}. */
export interface Result {
  readonly tokensPerSecond: number;
  readonly firstToken: number;
  readonly perToken: { readonly p50: number; readonly p99: number };
  /** The most that the event loop of the server's thread was held. */
  readonly eventLoop: number;
  /** Of the process, at its most. */
  readonly megabytes: number;
  readonly answers: number[][];
}
