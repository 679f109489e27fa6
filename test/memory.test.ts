import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const MiB = 2 ** 20;
const fixture = join(process.cwd(), 'test', 'fixtures', 'peak-memory.mjs');

/**
 * Scratch is sized by threads and tiles, so what a call needs beyond inputs and outputs does not
 * grow with N^2.
 */
test.each([
  ['256 queries, 131072 keys', { seqlenQ: 256, seqlenK: 131072, causal: false }],
  ['16384 x 16384, causal', { seqlenQ: 16384, seqlenK: 16384, causal: true }],
])('%s: inputs, outputs and at most 64 MiB', (_name, lengths) => {
  const problem = { ...lengths, heads: 16, headDim: 64 };
  const printed = execFileSync(process.execPath, [fixture, JSON.stringify(problem)], {
    encoding: 'utf8',
  });
  const { rise, outputs } = JSON.parse(printed);
  expect(outputs).toBe((lengths.seqlenQ * 16 * 64 + lengths.seqlenQ * 16) * 4);
  expect(rise).toBeGreaterThan(0);
  expect(rise).toBeLessThanOrEqual(outputs + 64 * MiB);
});
