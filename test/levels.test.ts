/**
 * Every instruction-set level of this machine, with several thread counts, each in a process of its
 * own: the same results to tolerance, and the same bits where the documentation promises them.
 */
import { randn } from '../lib/index.js';
import { native } from '../lib/native/addon.js';
import {
  type ConvolutionShape,
  dynamicConvolution,
  type ReferenceOptions,
  type ReferenceShape,
  standardAttention,
  standardAttentionBackward,
} from '../lib/reference/index.js';
import { runChild } from './support/child.js';
import { bound, type FloatDType, floatDTypes, maxError } from './support/numerics.js';

interface Case {
  readonly shape: ReferenceShape;
  readonly dtype: FloatDType;
  readonly options: Pick<ReferenceOptions, 'causal' | 'softcap' | 'window'> & {
    /** The seed as a number: it goes through JSON. */
    readonly dropout?: { p: number; seed: number };
    readonly numSplits?: number;
    readonly deterministic?: boolean;
  };
  readonly backward: boolean;
  /** The bits do not depend on the number of threads. */
  readonly fixed: boolean;
}

const square = { batch: 1, seqlenQ: 150, seqlenK: 150, heads: 4, kvHeads: 2, headDim: 40 };
const long = { batch: 2, seqlenQ: 61, seqlenK: 1100, heads: 2, kvHeads: 2, headDim: 32 };
const token = { batch: 2, seqlenQ: 1, seqlenK: 2100, heads: 8, kvHeads: 2, headDim: 64 };

const cases: Record<string, Case> = {};
for (const dtype of floatDTypes) {
  const add = (name: string, one: Omit<Case, 'dtype'>) => {
    cases[`${name}, ${dtype}`] = { ...one, dtype };
  };
  for (const numSplits of [undefined, 1, 3]) {
    const fixed = numSplits !== undefined;
    const how = `${numSplits ?? 'automatic'} splits`;
    const forward = { backward: false, fixed };
    add(`forward, ${how}`, { ...forward, shape: long, options: { numSplits } });
    add(`decode, ${how}`, { ...forward, shape: token, options: { causal: true, numSplits } });
    const options = { causal: true, softcap: 5, window: [70, 0] as const, numSplits };
    add(`forward with options, ${how}`, { ...forward, shape: square, options });
  }
  for (const deterministic of [false, true]) {
    const backward = { backward: true, fixed: deterministic };
    const how = deterministic ? 'deterministic' : 'any order';
    const base = { numSplits: 1, deterministic };
    add(`backward, ${how}`, { ...backward, shape: square, options: { ...base, causal: true } });
    const dropout = { p: 0.2, seed: 5 };
    add(`backward with options, ${how}`, {
      ...backward,
      shape: { ...square, seqlenQ: 90 },
      options: { ...base, softcap: 8, window: [60, 20], dropout },
    });
  }
}
const names = Object.keys(cases);

/** Whole vectors of channels and not, in the kernels of each level; more taps than a tile has. */
const convolutionShapes: ConvolutionShape[] = [
  { batch: 2, seqlen: 70, heads: 3, headDim: 64, kernelSize: 31 },
  { batch: 1, seqlen: 90, heads: 2, headDim: 203, kernelSize: 5 },
  { batch: 1, seqlen: 85, heads: 1, headDim: 40, kernelSize: 80 },
];
const convolutions: Record<string, { shape: ConvolutionShape; dtype: FloatDType }> = {};
for (const dtype of floatDTypes) {
  for (const shape of convolutionShapes) {
    convolutions[`dynamicConv, ${shape.kernelSize} taps, ${dtype}`] = { shape, dtype };
  }
}
const convolutionNames = Object.keys(convolutions);

type Results = Record<string, string>;

const threadCounts = [1, 2, 3, 5];
const { isaLevels } = native().info();
/** By level and number of threads. */
const told = new Map<string, Record<string, Results & { same: boolean }>>();
const resultsOf = (isa: string, threads: number, name: string) =>
  told.get(`${isa} ${threads}`)?.[name] as Results & { same: boolean };

function casesAsJson(): string {
  const numbers = names.map((name): [string, unknown] => {
    const { dtype, options, ...rest } = cases[name];
    return [name, { ...rest, options, dtype: floatDTypes.indexOf(dtype) }];
  });
  for (const [name, { shape, dtype }] of Object.entries(convolutions)) {
    numbers.push([name, { shape, dtype: floatDTypes.indexOf(dtype) }]);
  }
  return JSON.stringify(Object.fromEntries(numbers));
}

// A hook for each process: a busy machine may take long for all of them.
const json = casesAsJson();
for (const isa of isaLevels) {
  for (const threads of threadCounts) {
    beforeAll(async () => {
      const env = {
        FLASH_ATTENTION_CPU_ISA: isa,
        FLASH_ATTENTION_NUM_THREADS: String(threads),
      };
      const child = await runChild('attend.cjs', [json], { env });
      expect(child).toMatchObject({ status: 0, stderr: '' });
      const { results, ...settings } = JSON.parse(child.stdout);
      expect(settings).toEqual({ isa, threads });
      told.set(`${isa} ${threads}`, results);
    });
  }
}

const floats = (text: string): Float32Array => {
  const { buffer, byteOffset, byteLength } = Buffer.from(text, 'base64');
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
};

/** What the case computes, exactly and by standard attention in its dtype. */
async function expected({ shape, dtype, options, backward }: Case) {
  const { batch, seqlenQ, seqlenK, heads, kvHeads = heads, headDim } = shape;
  const queries = [batch, seqlenQ, heads, headDim];
  const keys = [batch, seqlenK, kvHeads, headDim];
  const [q, k, v, dOut] = await Promise.all(
    [queries, keys, keys, queries].map((axes, n) =>
      randn(axes, { seed: BigInt(n), dtype, device: 'cpu' }).toFloat32(),
    ),
  );
  const { dropout, numSplits: _, deterministic: __, ...rest } = options;
  const random = dropout && { dropout: { p: dropout.p, seed: BigInt(dropout.seed) } };
  const problem = { shape, q, k, v, ...rest, ...random };
  const solve = (precision: FloatDType | 'float64') => ({
    ...standardAttention(problem, { precision }),
    ...(backward && standardAttentionBackward(problem, dOut, { precision })),
  });
  return { exact: solve('float64'), standard: solve(dtype) };
}

test.each(names)('%s: every level, every number of threads', async (name) => {
  const { exact, standard } = await expected(cases[name]);
  const [first] = isaLevels;
  for (const isa of isaLevels) {
    for (const threads of threadCounts) {
      const results = resultsOf(isa, threads, name);
      expect(results.inputs).toBe(resultsOf(first, 1, name).inputs);
      for (const output of Object.keys(exact) as (keyof typeof exact)[]) {
        const truth = exact[output] ?? [];
        const error = maxError(floats(results[output]), truth);
        const allowed = bound(standard[output] ?? [], truth);
        const who = { isa, threads, output };
        expect({ ...who, error }).toEqual({ ...who, error: Math.min(error, allowed) });
      }
    }
  }
});

test.each(convolutionNames)('%s: every level, every number of threads', (name) => {
  const { shape, dtype } = convolutions[name];
  const [first] = isaLevels;
  const [x, weights] = ['x', 'weights'].map((of) => floats(resultsOf(first, 1, name)[of]));
  const exact = dynamicConvolution({ shape, x, weights }).out;
  const largest = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const ulp = { float32: 2 ** -24, float16: 2 ** -11, bfloat16: 2 ** -8 }[dtype];
  for (const isa of isaLevels) {
    for (const threads of threadCounts) {
      const results = resultsOf(isa, threads, name);
      expect(results.steps).toBe(results.out);
      expect(results).toEqual(resultsOf(isa, 1, name));
      expect(maxError(floats(results.out), exact)).toBeLessThanOrEqual(largest * (ulp + 2e-6));
    }
  }
});

describe.each(isaLevels)('%s', (isa) => {
  test.each([...names, ...convolutionNames])('%s: a second run gives the same bits', (name) => {
    for (const threads of threadCounts) {
      expect({ threads, same: resultsOf(isa, threads, name).same }).toEqual({
        threads,
        same: true,
      });
    }
  });

  test.each(names.filter((name) => cases[name].fixed))(
    '%s: the same bits for any number of threads',
    (name) => {
      for (const threads of threadCounts) {
        expect(resultsOf(isa, threads, name)).toEqual(resultsOf(isa, 1, name));
      }
    },
  );
});
