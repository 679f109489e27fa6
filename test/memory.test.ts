import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const MiB = 2 ** 20;
const fixture = join(process.cwd(), 'test', 'fixtures', 'peak-memory.mjs');

function run(problem: object, threads?: number) {
  const printed = execFileSync(process.execPath, [fixture, JSON.stringify(problem)], {
    encoding: 'utf8',
    env: { ...process.env, ...(threads && { FLASH_ATTENTION_NUM_THREADS: String(threads) }) },
  });
  return JSON.parse(printed);
}

/**
 * Scratch is sized by threads and tiles, so what a call needs beyond inputs and outputs does not
 * grow with N^2.
 */
test.each([
  ['256 queries, 131072 keys', { seqlenQ: 256, seqlenK: 131072, causal: false }],
  ['16384 x 16384, causal', { seqlenQ: 16384, seqlenK: 16384, causal: true }],
])('%s: inputs, outputs and at most 64 MiB', (_name, lengths) => {
  const { rise, outputs } = run({ ...lengths, heads: 16, headDim: 64 });
  expect(outputs).toBe((lengths.seqlenQ * 16 * 64 + lengths.seqlenQ * 16) * 4);
  expect(rise).toBeGreaterThan(0);
  expect(rise).toBeLessThanOrEqual(outputs + 64 * MiB);
});

describe('65536 keys on 16 threads', () => {
  const [threads, seqlenK, headDim] = [16, 65536, 32];

  test('gradients: the sums of one kv head per thread, given back', () => {
    const problem = { seqlenQ: 768, seqlenK, heads: 4, headDim, gradients: true };
    const { rise, stayed, outputs, scratch, scratchAfter, explained } = run(problem, threads);
    const oneHead = 2 * seqlenK * headDim * 4; // dK and dV in float32
    expect(scratch).toBe(threads * oneHead);
    expect(explained).toBeGreaterThanOrEqual(scratch);
    expect(explained).toBeLessThan(scratch + threads * 4 * MiB);
    expect(rise).toBeLessThanOrEqual(outputs + explained + 64 * MiB);
    expect(stayed).toBeLessThanOrEqual(outputs + 64 * MiB);
    expect(scratchAfter).toBe(0);
  });

  test('split keys: one partial result per split, given back', () => {
    const [seqlenQ, heads, numSplits] = [256, 8, 256];
    const problem = { seqlenQ, seqlenK, heads, headDim, numSplits };
    const { rise, stayed, outputs, scratch, scratchAfter, explained } = run(problem, threads);
    expect(scratch).toBe(numSplits * seqlenQ * heads * (headDim + 2) * 4);
    expect(explained).toBeGreaterThanOrEqual(scratch);
    expect(rise).toBeLessThanOrEqual(outputs + explained + 64 * MiB);
    expect(stayed).toBeLessThanOrEqual(outputs + 64 * MiB);
    expect(scratchAfter).toBe(0);
  });
});
