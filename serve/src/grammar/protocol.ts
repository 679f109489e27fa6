import type { ResponseFormat } from '../engine/contract.js';

/** What the grammar thread is started with. */
export interface GrammarThreadData {
  /** The model's: its tokenizer says which bytes a token is. */
  readonly folder: string;
  readonly vocabSize: number;
  readonly eosTokenIds: readonly number[];
}

/** To the grammar thread. `open` and `accept` are answered, in their order. */
export type ToGrammar =
  /** A matcher that has accepted `tokens`. */
  | {
      readonly type: 'open';
      readonly id: number;
      readonly format: ResponseFormat;
      readonly tokens: readonly number[];
    }
  | { readonly type: 'accept'; readonly id: number; readonly token: number }
  | { readonly type: 'close'; readonly id: number };

export type FromGrammar =
  | { readonly id: number; readonly mask: Int32Array; readonly complete: boolean }
  | { readonly id: number; readonly failure: string };
