// A process of its own for the memory suite: one call, and what it made the process grow by. The
// result stays where the call left it: native memory for us, an array for onnxruntime, which
// copies.
import { readFileSync, writeFileSync } from 'node:fs';
import { flashAttention, flashAttentionBackward, randn, synchronize } from '../lib/index.js';
import { backwardInputs, disposeBackwardInputs } from './backward-contestants.js';
import { disposeInputs, randomInputs } from './inputs.js';
import type { MemoryTask, MemoryUse } from './memory.js';
import { groupQueryAttention, multiHeadAttention, type OrtProblem } from './peers/onnx-graphs.js';
import { findOnnxRuntime } from './peers/onnxruntime.js';
import { nativeStandard, nativeStandardBackward } from './peers/standard.js';
import type { AttentionShape } from './shape.js';

/** A line of /proc/self/status in bytes, or where there is none the highest memory so far. */
function status(field: 'VmRSS' | 'VmHWM'): number {
  try {
    const text = readFileSync('/proc/self/status', 'utf8');
    return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(text)?.[1]) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}

/** Sets VmHWM back to VmRSS (proc(5)). */
function resetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // No such file: the peak of the small call below is small.
  }
}

function floats(count: number): Float32Array {
  const array = new Float32Array(count);
  // Written, so that the pages are there.
  for (let i = 0; i < count; i++) array[i] = ((i * 7919) % 2048) / 1024 - 1;
  return array;
}

function arraysOf({ batch, heads, kvHeads, seqlenQ, seqlenK, headDim }: AttentionShape) {
  const keys = batch * kvHeads * seqlenK * headDim;
  return { q: floats(batch * heads * seqlenQ * headDim), k: floats(keys), v: floats(keys) };
}

async function flash(shape: AttentionShape): Promise<void> {
  const inputs = randomInputs(shape, 'bshd');
  const out = flashAttention(inputs.q, inputs.k, inputs.v, { causal: shape.causal });
  await synchronize('cpu');
  out.dispose();
  disposeInputs(inputs);
}

async function flashBackward(shape: AttentionShape): Promise<void> {
  const inputs = randomInputs(shape, 'bshd');
  const dOut = randn([...inputs.q.shape], { seed: 4n, device: 'cpu' });
  const state = backwardInputs(shape, inputs, dOut);
  dOut.dispose();
  const gradients = flashAttentionBackward(state.dOut, state, { causal: shape.causal });
  await synchronize('cpu');
  for (const gradient of [gradients.dq, gradients.dk, gradients.dv]) gradient.dispose();
  disposeBackwardInputs(state);
}

async function onnxRuntime(
  make: (shape: AttentionShape, arrays: ReturnType<typeof arraysOf>) => OrtProblem,
  shape: AttentionShape,
  threads: number,
): Promise<void> {
  const { graph, feeds } = make(shape, arraysOf(shape));
  const model = await findOnnxRuntime(threads)?.load(graph, feeds);
  await model?.run();
}

async function standard(shape: AttentionShape, threads: number): Promise<void> {
  nativeStandard(shape, { ...arraysOf(shape), layout: 'bhsd' }, threads)();
}

async function standardBackward(shape: AttentionShape, threads: number): Promise<void> {
  const arrays = arraysOf(shape);
  nativeStandardBackward(shape, { ...arrays, dOut: floats(arrays.q.length) }, threads)();
}

async function main({ contestant, pass, shape, threads }: MemoryTask): Promise<void> {
  const names = {
    'flash-attention': 'flash-attention',
    GroupQueryAttention: 'onnxruntime GroupQueryAttention',
    MultiHeadAttention: 'onnxruntime MultiHeadAttention',
    standard: 'standard attention, our kernels',
  };
  const backward = pass === 'backward';
  const run = {
    'flash-attention': backward ? flashBackward : flash,
    GroupQueryAttention: (s: AttentionShape) => onnxRuntime(groupQueryAttention, s, threads),
    MultiHeadAttention: (s: AttentionShape) => onnxRuntime(multiHeadAttention, s, threads),
    standard: (s: AttentionShape) => (backward ? standardBackward : standard)(s, threads),
  }[contestant];
  // Loads libraries and starts threads; those are no part of the call.
  await run({ ...shape, seqlenQ: 64, seqlenK: 64 });
  resetPeak();
  const before = status('VmRSS');
  await run(shape);
  const use: MemoryUse = { who: names[contestant], peakMemory: status('VmHWM') - before };
  console.log(JSON.stringify(use));
}

await main(JSON.parse(process.argv[2]) as MemoryTask);
