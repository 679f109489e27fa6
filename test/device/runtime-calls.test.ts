// What a decode step asks of the CUDA runtime once it runs: counted call by call on the SIMT
// device, whose runtime writes them down. What a call costs, only a GPU can tell.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { device, onSimt, testIf } from '../support/device.js';

const testOnSimt = testIf(onSimt, 'the runtime of the SIMT device alone writes its calls down');

interface Decoding {
  readonly layers: number;
  readonly steps?: number;
  readonly sequences?: number;
  readonly prompt?: number;
  readonly dtype: string;
  readonly cacheDtype: string;
  readonly options?: object;
  readonly tokens?: readonly number[];
  /** Replays all layers of a step at once, or one by one. */
  readonly graph?: 'step' | 'layer';
  readonly numbers?: boolean;
}

/** Code of compute capability 9.0, which GPUs that came later run as PTX. */
const canOverlap = /:sm(90|1\d\d)$/.test(device);
/** A kernel that may begin while the one in front of it ends, where kernels can wait for that. */
const overlapping = (kernel: string) => (canOverlap ? `${kernel}, overlapping` : kernel);

/** What lets two launches run side by side where kernels cannot wait. */
const fork = canOverlap ? {} : { cudaEventRecord: 2, cudaStreamWaitEvent: 2 };

/** The calls of each step, counted by name; launches by the kernel's. */
function countedCalls(decoding: Decoding): Record<string, number>[] {
  const folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-calls-'));
  const log = path.join(folder, 'calls.txt');
  writeFileSync(log, '');
  try {
    const problem = { steps: 4, sequences: 3, prompt: 40, ...decoding };
    const printed = execFileSync(
      process.execPath,
      ['test/fixtures/decode-calls.mjs', JSON.stringify(problem)],
      { encoding: 'utf8', env: { ...process.env, FLASH_ATTENTION_SIMT_CALLS: log } },
    );
    const { steps } = JSON.parse(printed) as { steps: { calls: string[] }[] };
    return steps.map(({ calls }) => {
      const counts: Record<string, number> = {};
      for (const call of calls) {
        const [name, , , ...kernel] = call.split(' ');
        // One is made when all that there are still wait for the waiter's thread.
        if (name === 'cudaEventCreateWithFlags') continue;
        const short = /(\w+)(<|$)/.exec(kernel.join(' '))?.[1];
        const launches = new Map([
          ['cudaLaunchKernel', `${short}`],
          ['cudaLaunchKernelEx', `${short}, overlapping`],
        ]);
        const key = launches.get(name) ?? name;
        counts[key] = (counts[key] ?? 0) + 1;
      }
      return counts;
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Those of a layer: what a step of three has more than a step of one, by two. */
function ofLayer(one: Record<string, number>, three: Record<string, number>) {
  const names = new Set([...Object.keys(one), ...Object.keys(three)]);
  const counts = [...names].map((name) => [name, ((three[name] ?? 0) - (one[name] ?? 0)) / 2]);
  return Object.fromEntries(counts.filter(([, count]) => count !== 0));
}

// out is made by the JavaScript thread, and the lists of what blocks work on are made once for all
// layers. The first step of a shape may ask for attributes, events and pinned memory.
const plain = { cudaMallocAsync: 1, append_kernel: 1, decode: 1 };
const partial = { cudaMallocAsync: 1, [overlapping('combine_kernel')]: 1, cudaFreeAsync: 1 };
const splits = { ...plain, ...partial, cudaMallocAsync: 2 };

testOnSimt.each([
  ['a cache of its own dtype', { dtype: 'bfloat16', cacheDtype: 'bfloat16' }, plain],
  ['splits', { dtype: 'bfloat16', cacheDtype: 'bfloat16', options: { numSplits: 3 } }, splits],
  ['a cache in 8 bits', { dtype: 'bfloat16', cacheDtype: 'int8' }, plain],
  [
    'a chunk of a prompt beside it',
    { dtype: 'bfloat16', cacheDtype: 'bfloat16', tokens: [1, 30, 3], options: { numSplits: 1 } },
    { cudaMallocAsync: 1, append_kernel: 1, forward: 1, [overlapping('decode')]: 1, ...fork },
  ],
])('a decode step over %s', (_name, decoding, layer) => {
  const one = countedCalls({ ...decoding, layers: 1 });
  const three = countedCalls({ ...decoding, layers: 3 });
  // From the second step on they are the same, and no call waits, makes or frees anything but
  // memory in the order of the stream.
  for (const steps of [one, three]) {
    for (const step of steps.slice(2)) expect(step).toEqual(steps[1]);
  }
  expect(ofLayer(one[1], three[1])).toEqual(layer);
  // The step itself brings its tables in one copy, and its list in another. Events say when the
  // pinned memory of those is free again, a third one belongs to the synchronize() of this test;
  // the waiter waits.
  const events = { cudaEventRecord: 3, cudaEventQuery: 3, cudaEventSynchronize: 3 };
  const step = { cudaMallocAsync: 2, cudaMemcpyAsync: 2, ...events };
  const expected: Record<string, number> = { ...step };
  for (const [name, count] of Object.entries(layer)) {
    expected[name] = (expected[name] ?? 0) + count;
  }
  expect(one[1]).toEqual(expected);
});

// What is waited for, once each: pinned memory of a copy, and the synchronize() of this test.
const waits = { cudaEventRecord: 2, cudaEventQuery: 2, cudaEventSynchronize: 2 };
const copied = { cudaMemcpyAsync: 1, ...waits };

testOnSimt.each<[string, Omit<Decoding, 'layers'>, Record<string, number>]>([
  // Rows that are numbers are in one copy with the tables; then there is the graph.
  [
    'all layers, of numbers',
    { dtype: 'float32', cacheDtype: 'bfloat16', graph: 'step', numbers: true },
    { ...copied, cudaGraphLaunch: 1 },
  ],
  [
    'splits of all layers, of numbers',
    {
      ...{ dtype: 'float32', cacheDtype: 'int8', graph: 'step', numbers: true },
      options: { numSplits: 3 },
    },
    { ...copied, cudaGraphLaunch: 1 },
  ],
  // q, k and v of three layers that are on the device are copied there.
  [
    'all layers, of tensors',
    { dtype: 'bfloat16', cacheDtype: 'bfloat16', graph: 'step' },
    { ...copied, cudaMemcpyAsync: 1 + 3 * 3, cudaGraphLaunch: 1 },
  ],
  [
    'layer by layer, of tensors',
    { dtype: 'bfloat16', cacheDtype: 'bfloat16', graph: 'layer' },
    { ...copied, cudaMemcpyAsync: 1 + 3 * 3, cudaGraphLaunch: 3 },
  ],
  [
    'three drafts of each sequence with lse, all layers, of numbers',
    {
      ...{ dtype: 'float32', cacheDtype: 'int8', graph: 'step', numbers: true, tokens: [3, 3, 3] },
      options: { numSplits: 3, returnLse: true },
    },
    { ...copied, cudaGraphLaunch: 1 },
  ],
  // What a model of which parts run on the host does, such as the server's.
  [
    'layer by layer, of numbers',
    { dtype: 'float32', cacheDtype: 'bfloat16', graph: 'layer', numbers: true },
    {
      ...{ cudaMemcpyAsync: 3, cudaEventRecord: 4, cudaEventQuery: 4, cudaEventSynchronize: 4 },
      cudaGraphLaunch: 3,
    },
  ],
])('a replayed step of three layers: %s', (_name, decoding, expected) => {
  const [first, ...others] = countedCalls({ ...decoding, layers: 3 });
  // The first one launches kernels and captures them.
  expect(first).toMatchObject({ append_kernel: 6, cudaStreamBeginCapture: expect.anything() });
  expect(first).not.toHaveProperty('cudaGraphLaunch');
  for (const step of others) expect(step).toEqual(expected);
});
