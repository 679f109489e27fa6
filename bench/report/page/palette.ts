// One colour per contestant all over the page, as CSS classes that style.ts gives colours by theme.
import { ours } from '../../row.js';

const classes: readonly [pattern: RegExp, name: string][] = [
  [new RegExp(`^${ours} float16`), 'c-half'],
  [new RegExp(`^${ours} bfloat16`), 'c-brain'],
  [new RegExp(`^${ours} float32, bshd`), 'c-alternative'],
  [new RegExp(`^${ours}`), 'c-ours'],
  [/MultiHeadAttention/, 'c-peer'],
  [/GroupQueryAttention/, 'c-group'],
  [/onnxruntime Attention/, 'c-onnx'],
  [/MatMul/, 'c-matmul'],
  [/standard attention/, 'c-standard'],
];

export const colorClass = (who: string): string =>
  classes.find(([pattern]) => pattern.test(who))?.[1] ?? 'c-other';

const groupClasses = ['c-ours', 'c-alternative', 'c-peer', 'c-onnx', 'c-standard'];

/** Where lines are groups and not contestants. */
export const groupColor = (index: number): string => groupClasses[index % groupClasses.length];
