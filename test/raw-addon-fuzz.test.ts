/**
 * The raw addon against garbage: whatever comes, it answers with a result or a clean error. Runs in
 * child processes, so that a crash shows as a failure that names its seed. For a longer hunt:
 * `node test/fixtures/fuzz.cjs <seed> <rounds>`.
 */
import { runChild } from './support/child.js';

const rounds = 4000;

const functions = [
  'info',
  'lap',
  'devices',
  'memory',
  'empty',
  'zeros',
  'randn',
  'fromData',
  'view',
  'convert',
  'concat',
  'describe',
  'read',
  'dispose',
  'attention',
  'attentionBackward',
  'plan',
  'mergeStates',
  'dynamicConv',
  'append',
  'rotate',
  'newStep',
  'endStep',
  'stepOptions',
  'stepAttention',
  'quantize',
  'dequantize',
  'startTrace',
  'stopTrace',
  'newAbortFlag',
  'abort',
  'stopOn',
  'prioritize',
  'synchronize',
  'take',
];

test.each([1, 2, 3, 4, 5, 6])(
  'garbage of seed %i meets only clean errors',
  async (seed) => {
    const child = await runChild('fuzz.cjs', [seed, rounds]);
    expect(child).toMatchObject({ status: 0, signal: null, stderr: '' });
    const counts = JSON.parse(child.stdout);
    // It is no use unless much of it gets through: every function answered, many kinds of errors
    // came.
    expect(Object.keys(counts.functions).sort()).toEqual([...functions].sort());
    expect(counts.functions.attention).toBeGreaterThan(rounds / 20);
    expect(counts.functions.stepAttention).toBeGreaterThan(rounds / 40);
    expect(Object.keys(counts.errors)).toEqual(
      expect.arrayContaining(['ERR_TYPE', 'ERR_SHAPE', 'ERR_DTYPE', 'ERR_OPTION', 'ERR_DISPOSED']),
    );
  },
  90_000,
);
