// Few queries over pages in 8 bits: GPUs have a kernel for them, which converts in registers, where
// rows of the pages are multiples of 16 bytes.
import { explain, type Tensor, tensor } from '../../lib/index.js';
import { type CodeDType, dequantizedCache, pagedAttention } from '../../lib/reference/index.js';
import { flashAttentionRagged } from '../../lib/serving/index.js';
import { onCpu, sized, testIf } from '../support/device.js';
import { maxError } from '../support/numerics.js';
import {
  expectQuantized,
  quantizedProblem,
  type RaggedOptions,
  raggedProblem,
  type RaggedShape,
} from '../support/pages.js';

const codeDTypes: readonly CodeDType[] = ['int8', 'float8_e4m3'];
const dtypes = ['float16', 'bfloat16'] as const;

/** Sequences of 16 packed rows at most. */
const few: RaggedShape = {
  lengths: [
    [1, 37],
    [4, 90],
    [3, 0],
    [2, 33],
    [0, 9],
    [1, 260],
  ],
  heads: 8,
  kvHeads: 2,
  headDim: 64,
  pageSize: 16,
};

describe.each(codeDTypes)('pages of %s', (codes) => {
  describe.each(dtypes)('queries of %s', (dtype) => {
    test.each([
      [16, 16],
      [48, 80],
      [112, 128],
      [144, 32],
      [256, 208],
    ])('head dims %d and %d, in splits and not', async (headDim, headDimV) => {
      const problem = raggedProblem({ ...few, headDim, headDimV }, { causal: true }, headDim);
      const quantized = quantizedProblem(problem, codes, dtype);
      for (const numSplits of [1, 3]) await expectQuantized(quantized, { numSplits });
    });

    test.each<[string, RaggedOptions]>([
      ['window and sink tokens', { window: [40, 0], sinkTokens: 5 }],
      ['softcap, a scale above 1', { softcap: 2, scale: 1.5, causal: true }],
      ['a negative scale', { scale: -0.2 }],
      ['sinks', { sinks: [0, 1, -1, 2, 0, 3, 1, -2], causal: true }],
      ['ALiBi', { alibiSlopes: [0.5, 0.25, 0.125, 0.1, 0.1, 0.3, 0.01, 1], causal: true }],
      ['sinks, ALiBi and a window', { sinks: [1, 1, 1, 1, 2, 2, 2, 2], window: [50, 0] }],
    ])('%s', async (_, options) => {
      const problem = raggedProblem({ ...few, pageSize: 8 }, options, 7);
      await expectQuantized(quantizedProblem(problem, codes, dtype, true));
      await expectQuantized(quantizedProblem(problem, codes, dtype), { numSplits: 2 });
    });

    test.each([
      ['zeros', 0],
      ['the least', 2 ** -24],
      ['small', 2 ** -12],
      ['large', 2 ** 12],
    ])('queries: %s', async (_, factor) => {
      const problem = raggedProblem(few, { causal: true, scale: 0.125 }, 11);
      const q = Float32Array.from(problem.q, (x, n) => x * (n % 3 === 0 ? factor : 1));
      await expectQuantized(quantizedProblem({ ...problem, q }, codes, dtype));
    });
  });

  test('queries next to the ends of bfloat16', async () => {
    for (const factor of sized([2 ** -126, 2 ** -100, 2 ** 100, 2 ** 120], [2 ** -126, 2 ** 120])) {
      const given = raggedProblem(few, { causal: true, scale: Math.min(1, 0.125 / factor) }, 6);
      const q = Float32Array.from(given.q, (x) => x * factor);
      await expectQuantized(quantizedProblem({ ...given, q }, codes, 'bfloat16'));
    }
  });

  test('a value whose scale is 2^60 times that of the others', async () => {
    const problem = raggedProblem({ ...few, lengths: [[2, 70]] }, { causal: true }, 5);
    const row = (problem.pageTable[0][4] * 16 + 5) * 2 * 64; // key 69: the last query's alone
    const vPages = Float32Array.from(problem.vPages, (x, n) =>
      n >= row && n < row + 128 ? x * 2 ** 60 : x,
    );
    const attend = async (values: typeof problem.vPages) => {
      const call = quantizedProblem({ ...problem, vPages: values }, codes, 'bfloat16');
      const options = { ...call.options, numSplits: 1 };
      const out = flashAttentionRagged(call.q, call.kPages, call.vPages, options);
      return { truth: pagedAttention(call.problem).out, out: await out.toFloat32() };
    };
    const [plain, large] = [await attend(problem.vPages), await attend(vPages)];
    expect(large.out.subarray(0, 8 * 64)).toEqual(plain.out.subarray(0, 8 * 64));
    const scaled = (x: ArrayLike<number>) => Array.from(x, (each) => each / 2 ** 60).slice(8 * 64);
    expect(maxError(scaled(large.out), scaled(large.truth))).toBeLessThan(2 ** -7);
  });

  test.each(dtypes)('scales and codes that are not finite, queries of %s', async (dtype) => {
    const problem = raggedProblem({ ...few, lengths: [[4, 85]] }, { causal: true }, 8);
    const call = quantizedProblem(problem, codes, dtype);
    const slot = (key: number) => problem.pageTable[0][Math.floor(key / 16)] * 16 + (key % 16);
    const copies = async (of: Tensor) => Float32Array.from(await of.toFloat32());
    // Of the second head: key 83 is seen by two queries, key 20 by all.
    for (const [key, first] of [
      [83, 2],
      [20, 0],
    ]) {
      for (const where of ['kScales', 'vScales'] as const) {
        for (const bad of [Number.NaN, Infinity, -Infinity]) {
          const scales = await copies(call.options[where] as Tensor);
          scales[slot(key) * 2 + 1] = bad;
          const options = {
            ...call.options,
            [where]: tensor(scales, (call.options[where] as Tensor).shape),
          };
          for (const numSplits of [1, 2]) {
            const out = await flashAttentionRagged(call.q, call.kPages, call.vPages, {
              ...options,
              numSplits,
            }).toFloat32();
            for (let n = 0; n < out.length; n++) {
              const [i, head] = [Math.floor(n / 512), Math.floor(n / 64) % 8];
              if (Number.isFinite(out[n]) === (i >= first && head >= 4))
                throw new Error(`${where} ${bad} of key ${key}: query ${i}, head ${head}`);
            }
          }
        }
      }
      if (codes === 'int8') continue;
      const pages = Uint8Array.from((await call.vPages.data()) as Uint8Array);
      pages[(slot(key) * 2 + 1) * 64 + 9] = 0xff;
      const vPages = tensor(pages, call.vPages.shape, { dtype: 'float8_e4m3' });
      const out = await flashAttentionRagged(call.q, call.kPages, vPages, call.options).toFloat32();
      const scales = await copies(call.options.vScales as Tensor);
      const stands = dequantizedCache({ codes: pages, scales, dim: 64, dtype: codes });
      const truth = pagedAttention({ ...call.problem, vPages: stands }).out;
      expect(Array.from(out, Number.isNaN)).toEqual(Array.from(truth, Number.isNaN));
      expect(Array.from(out, Number.isNaN).filter(Boolean)).toHaveLength((4 - first) * 4);
    }
  });

  testIf(!onCpu, 'it is about GPUs')('explain names the kernel', () => {
    const kernel = (shape: RaggedShape, options: RaggedOptions = {}) => {
      const problem = raggedProblem(shape, options, 3);
      const { q, kPages, vPages, options: given } = quantizedProblem(problem, codes, 'float16');
      return explain(q, kPages, vPages, given).kernel;
    };
    expect(kernel(few)).toBe('sm80.decode.8bit');
    expect(kernel(few, { softcap: 3 })).toBe('sm80.decode.8bit');
    expect(kernel({ ...few, headDim: 72 })).toBe('sm80.forward.featured'); // rows of 72 bytes
    expect(kernel({ ...few, lengths: [[5, 80]] })).toBe('sm80.forward.featured'); // 20 rows
  });
});
