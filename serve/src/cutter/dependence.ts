import type { OnnxNode } from '../onnx/format.js';

/** What a tensor depends on, and where its tokens are. */
export type Dependence = Constant | Tokens | Lengths | Refused;

/** On weights alone, but for what `fed` and `counts` say. */
export interface Constant {
  readonly kind: 'constant';
  readonly dims?: readonly number[];
  /** Of small ones of integers, such as axes and shapes. NaN: a count of tokens. */
  readonly values?: () => readonly number[];
  /** Not weights but num_logits_to_keep, which is always fed 1. */
  readonly fed?: boolean;
  /** Not weights alone, but how many tokens there are. */
  readonly counts?: boolean;
}

/**
 * A row of every token, which depends on that token alone. Leading axes, batch first, count the
 * tokens; all axes behind `lead` belong to one.
 */
export interface Tokens {
  readonly kind: 'tokens';
  readonly rank: number;
  /** The last axis that counts tokens. */
  readonly lead: number;
  /** Elements of a token, where they are known. */
  readonly width?: number;
  /** In the whole graph these are the last tokens of each sequence alone. */
  readonly last?: boolean;
}

/** On what is told of all sequences: attention_mask, lengths, the cache. */
interface Lengths {
  readonly kind: 'lengths';
}

/** A node that no part can have. It matters once its output is needed. */
interface Refused {
  readonly kind: 'refused';
  readonly node: OnnxNode;
  readonly reason: string;
}
