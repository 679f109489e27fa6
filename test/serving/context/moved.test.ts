// Keys and values that were computed on one machine and go on over several parts.
import { KvCache, type Sequence } from '../../../lib/serving/index.js';
import { tensor } from '../../../lib/index.js';
import { ContextMachines, smallShape, type Twin } from '../../support/context-machines.js';
import { onSimtHopper, sized } from '../../support/device.js';
import { errorOf } from '../../support/expect-error.js';

const cut = { parts: 3, tokensPerRun: 8 };
const dtypes = onSimtHopper
  ? (['int8'] as const)
  : sized(['bfloat16', 'int8', 'float8_e4m3'] as const, ['int8'] as const);

/** Moves a sequence in pieces of a run at most. */
async function move(from: Sequence, twin: Twin, piece: number): Promise<number[]> {
  const sizes: number[] = [];
  for (let begin = 0; begin < from.length; ) {
    const run = cut.tokensPerRun - (begin % cut.tokensPerRun);
    const end = Math.min(from.length, begin + Math.min(run, piece));
    const bytes = await from.save({ begin, end });
    await twin.apart.append(bytes);
    sizes.push(bytes.length);
    begin = end;
  }
  return sizes;
}

test.each(dtypes)('a prompt computed on one machine is decoded over three: %s', async (dtype) => {
  const machines = new ContextMachines(cut, { dtype });
  const lone = machines.create();
  const { heads, kvHeads, headDim, headDimV, layers } = smallShape;
  const prompt = 45;
  using step = machines.cache.step([{ sequence: lone.alone, tokens: prompt }]);
  const [q, k, v] = machines.rows(prompt);
  using qRows = tensor(q, [prompt, heads, headDim]);
  using kRows = tensor(k, [prompt, kvHeads, headDim]);
  using vRows = tensor(v, [prompt, kvHeads, headDimV]);
  for (let layer = 0; layer < layers; layer++) step.attention(layer, qRows, kRows, vRows).dispose();
  step.commit();
  const sizes = await move(lone.alone, lone, 5);
  expect(lone.apart.length).toBe(prompt);
  expect(sizes.length).toBe(11);
  for (let i = 0; i < 12; i++) await machines.feed([{ twin: lone, tokens: 1 }]);
  const fork = await machines.fork(lone);
  await machines.feed([lone, fork].map((twin) => ({ twin, tokens: 2 })));
  await machines.end(lone, fork);
});

test('a piece is of one run, and of the part’s cache', async () => {
  const machines = new ContextMachines(cut, { dtype: 'int8' });
  const { apart } = machines.create();
  const saved = async (length: number, dtype: 'int8' | 'float32') => {
    const { heads: _, ...shape } = smallShape;
    using cache = new KvCache({ ...shape, dtype, numPages: 8 });
    using sequence = cache.createSequence();
    using step = cache.step([{ sequence, tokens: length }]);
    const [q, k, v] = machines.rows(length);
    for (let layer = 0; layer < shape.layers; layer++)
      step.attention(layer, q, k, v, { sync: true });
    step.commit();
    return sequence.save();
  };
  const long = await errorOf(async () => apart.append(await saved(9, 'int8')));
  expect(long).toMatchObject({ code: 'ERR_SHAPE', argument: 'bytes' });
  const other = await errorOf(async () => apart.append(await saved(3, 'float32')));
  expect(other).toMatchObject({ code: 'ERR_DTYPE', argument: 'bytes', part: 0 });
  expect(apart.length).toBe(0);
  await apart.append(await saved(5, 'int8'));
  await apart.append(await saved(3, 'int8'));
  expect(apart.length).toBe(8);
});

test('part of a sequence is saved', async () => {
  const machines = new ContextMachines({ parts: 1, tokensPerRun: 4 });
  const twin = machines.create();
  await machines.feed([{ twin, tokens: 11 }]);
  const error = await errorOf(() => twin.alone.save({ begin: 5, end: 12 }));
  expect(error).toMatchObject({ code: 'ERR_OPTION', argument: 'options.end' });
  expect((await errorOf(() => twin.alone.save({ begin: 5, end: 4 }))).argument).toBe(
    'options.begin',
  );
  using loaded = machines.cache.load(await twin.alone.save({ begin: 3, end: 9 }));
  expect(loaded.length).toBe(6);
  using empty = machines.cache.load(await twin.alone.save({ begin: 3, end: 3 }));
  expect(empty.length).toBe(0);
});
