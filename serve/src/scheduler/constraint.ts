/** What a grammar allows in one answer. It is computed elsewhere, while the model computes. */
export interface Constraint {
  /** Where bit t % 32 of word t >> 5 is set, token t may come next. Undefined: not known yet. */
  readonly mask?: Int32Array;
  /** Nothing can follow any more. */
  readonly complete: boolean;
  /** Why there will be no mask. */
  readonly failure?: Error;
  /** Resolves when the mask for the next token, or the failure, is there. */
  settled(): Promise<void>;
  /** The next token is this. */
  accept(token: number): void;
  dispose(): void;
}
