// One colour per contestant all over the page.
import { ours } from '../row.js';
import type { Color } from './chart.js';

const known: readonly [pattern: RegExp, color: Color][] = [
  [new RegExp(`^${ours} float16`), 'half'],
  [new RegExp(`^${ours} bfloat16`), 'brain'],
  [new RegExp(`^${ours} float32, bshd`), 'alternative'],
  [new RegExp(`^${ours}-serve, HTTP`), 'alternative'],
  [new RegExp(`^${ours}`), 'ours'],
  [/MultiHeadAttention/, 'peer'],
  [/GroupQueryAttention/, 'group'],
  [/onnxruntime Attention/, 'onnx'],
  [/MatMul/, 'matmul'],
  [/standard attention/, 'standard'],
  [/onnxruntime-node, as usual/, 'peer'],
  [/onnxruntime-node, best batch/, 'onnx'],
  [/transformers\.js/, 'standard'],
  [/node-llama-cpp/, 'brain'],
];

export const colorOf = (who: string): Color =>
  known.find(([pattern]) => pattern.test(who))?.[1] ?? 'other';

const apart: readonly Color[] = ['ours', 'peer', 'standard', 'half', 'brain', 'onnx', 'matmul'];

/** Where lines are groups, or kinds of one contestant. */
export const colorAt = (index: number): Color => apart[index % apart.length];
