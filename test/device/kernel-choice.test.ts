// Which kernels a GPU runs, by its compute capability: those of sm_90a on 9.0 for what they cover,
// those of sm_80 for the rest and on every other GPU. The tables are in
// docs/design/forward-hopper.md and docs/design/backward-hopper.md.
import { BlockMask, devices, explain, randn, tensor, zeros } from '../../lib/index.js';
import { device, onCpu, onSimt, testIf } from '../support/device.js';

const {
  capability,
  kernels = [],
  kernelImage,
} = devices().find(({ name }) => name === device) ?? {};
const onHopper = capability === 'sm_90';
/** Blocks have 99 KB of shared memory. */
const hasLittleShared = ['sm_86', 'sm_89', 'sm_120', 'sm_121'].includes(capability ?? '');
const testOnGpu = testIf(!onCpu, 'it is about GPUs');

type Shape = [batch: number, seqlen: number, heads: number, headDim: number];
const make = (shape: Shape, dtype: 'float16' | 'bfloat16' | 'float32' = 'bfloat16') =>
  randn(shape, { seed: 1n, dtype });

/** The kernel of a causal call, unless told otherwise. */
function kernel(
  q: Shape,
  k: Shape,
  options: Parameters<typeof explain>[3] = { causal: true },
  dtype: 'float16' | 'bfloat16' | 'float32' = 'bfloat16',
) {
  const plan = explain(make(q, dtype), make(k, dtype), make(k, dtype), options);
  expect(kernels).toContain(plan.kernel);
  expect(kernels).toContain(plan.backwardKernel);
  return plan.kernel;
}

const family = onHopper ? 'sm90' : 'sm80';

describe('on a GPU', () => {
  testOnGpu('devices() lists all kernels that explain() can name', () => {
    const names = ['.forward', '.forward.featured', '.backward', '.backward.featured'];
    const of = (prefix: string) => names.map((name) => prefix + name);
    const ofHopper = onHopper ? [...of('sm90'), 'sm90.forward.float8', 'sm90.mla'] : [];
    const few = ['sm80.decode', 'sm80.decode.featured', 'sm80.decode.8bit', 'sm80.mla'];
    expect(kernels).toEqual([...of('sm80'), ...few, ...ofHopper]);
  });

  testIf(onSimt, 'other builds have other code')(
    'devices() tells what is compiled at first calls',
    () => {
      const isLater = ['sm_100', 'sm_120'].includes(capability ?? '');
      expect(kernelImage).toBe(isLater ? 'PTX' : 'machine code');
    },
  );

  testOnGpu('full, causal and windowed calls run the plain kernel', () => {
    const shape: Shape = [1, 300, 2, 64];
    for (const options of [{}, { causal: true }, { window: [20, 5] as [number, number] }])
      expect(kernel(shape, shape, options)).toBe(`${family}.forward`);
    expect(kernel(shape, shape, {}, 'float16')).toBe(`${family}.forward`);
  });

  testOnGpu('up to 16 rows of a kv head run the decode kernel', () => {
    const [q, k]: Shape[] = [
      [1, 2, 16, 64],
      [1, 300, 2, 64],
    ];
    expect(kernel(q, k)).toBe('sm80.decode');
    expect(kernel(q, k, { softcap: 5 })).toBe('sm80.decode.featured');
    const pages = zeros([2, 16, 2, 64], { dtype: 'int8' });
    const scales = zeros([2, 16, 2]);
    const plan = explain(make(q), pages, pages, {
      pageTable: tensor(Int32Array.of(1, 0), [1, 2]),
      seqlensK: [20],
      kScales: scales,
      vScales: scales,
    });
    expect(plan.kernel).toBe('sm80.decode.8bit');
    expect(kernels).toContain(plan.kernel);
  });

  testOnGpu('heads of more than 256 dims: 64 rows a tile where shared memory has room', () => {
    const latents = make([1, 40, 1, 576]);
    const inKeys = latents.slice(null, null, null, [0, 512]);
    for (const heads of [16, 17]) {
      for (const values of [inKeys, inKeys.contiguous()]) {
        const plan = explain(make([1, 1, heads, 576]), latents, values);
        expect(kernels).toContain(plan.kernel);
        // That of wgmma has no second tile for values of their own.
        const onWgmma = onHopper && heads > 16 && values === inKeys;
        expect(plan.kernel).toBe(onWgmma ? 'sm90.mla' : 'sm80.mla');
        expect(plan.tileQ).toBe(heads === 16 || hasLittleShared ? 16 : 64);
        expect(plan.tileK).toBe(onWgmma ? 64 : 32);
      }
    }
  });

  testOnGpu('options run the featured kernel', () => {
    const shape: Shape = [1, 128, 2, 64];
    const blockMask = BlockMask.slidingWindow({
      seqlenQ: 128,
      seqlenK: 128,
      left: 64,
      right: 0,
      blockSize: 32,
    });
    for (const options of [{ softcap: 5 }, { dropout: { p: 0.1, seed: 1n } }, { blockMask }])
      expect(kernel(shape, shape, options)).toBe(`${family}.forward.featured`);
  });

  testOnGpu('every head dim that TMA can address has a tile', () => {
    for (const headDim of [8, 64, 72, 128, 160, 192, 200, 256]) {
      const shape: Shape = [1, 130, 1, headDim];
      expect(kernel(shape, shape)).toBe(`${family}.forward`);
    }
  });

  testOnGpu('gradients of every head dim that TMA can address, too', () => {
    for (const headDim of [8, 64, 72, 128, 136, 160, 192, 200, 248, 256]) {
      const q = make([1, 130, 1, headDim]);
      expect(explain(q, q, q, { causal: true }).backwardKernel).toBe(`${family}.backward`);
      const featured = explain(q, q, q, { softcap: 5 }).backwardKernel;
      expect(featured).toBe(`${family}.backward.featured`);
    }
    const float32 = make([1, 130, 1, 256], 'float32');
    expect(explain(float32, float32, float32).backwardKernel).toBe('sm80.backward.featured');
  });

  const onAmpere = testIf(!onCpu && !onHopper, 'Hopper runs tiles of its own');
  onAmpere('tiles leave an SM room for 8 warps, whatever shared memory it has', () => {
    const sharedOfSm = (hasLittleShared ? 100 : 164) * 1024;
    const reserved = 1024; // of each block, by the driver
    const plans = (headDims: number[], options: Parameters<typeof explain>[3]) =>
      headDims.map((headDim) => {
        const x = make([1, 300, 1, headDim]);
        const plan = explain(x, x, x, options);
        const blocks = Math.floor(sharedOfSm / (plan.sharedBytes + reserved));
        expect((blocks * plan.threads) / 32).toBeGreaterThanOrEqual(8);
        return [plan.tileQ, plan.tileK, plan.stages];
      });
    const [of128, of256] = hasLittleShared ? [32, 32] : [64, 64];
    expect(plans([32, 64, 96, 128, 192, 256], {})).toEqual(
      [128, 112, 64, of128, 64, of256].map((keys) => [128, keys, 1]),
    );
    const featured = plans([32, 64, 96, 128, 192, 256], { softcap: 5 });
    expect(featured).toEqual([
      [64, 64, 2],
      [64, 64, 2],
      [64, 64, 1],
      [64, 64, hasLittleShared ? 1 : 2],
      [128, 64, 1],
      [hasLittleShared ? 128 : 64, 32, 1],
    ]);
  });

  onAmpere('few rows run the plain kernel where featured tiles have as many rows', () => {
    const kernels = [128, 192, 256].map((dim) => kernel([1, 16, 8, dim], [1, 300, 2, dim]));
    const [plain, featured] = ['sm80.forward', 'sm80.forward.featured'];
    expect(kernels).toEqual([featured, plain, hasLittleShared ? plain : featured]);
  });

  testOnGpu('the rest is left to sm_80', () => {
    const shape: Shape = [1, 300, 2, 64];
    expect(kernel(shape, shape, {}, 'float32')).toBe('sm80.forward.featured');
    expect(kernel([1, 300, 2, 60], [1, 300, 2, 60])).toBe('sm80.forward.featured'); // rows of 120 bytes
    expect(kernel([1, 16, 8, 64], [1, 300, 2, 64])).toBe('sm80.forward.featured'); // 64 packed rows
  });

  testOnGpu('a chunk of a long prompt is split', () => {
    const [q, k] = [make([1, 100, 1, 64]), make([1, 4000, 1, 64])];
    expect(explain(q, k, k).kernel).toBe(`${family}.forward`);
    expect(explain(q, k, k).numSplits).toBeGreaterThan(1);
    expect(explain(q, k, k, { numSplits: 3 })).toMatchObject({
      kernel: `${family}.forward`,
      numSplits: 3,
    });
  });

  testOnGpu('pages of a multiple of 8 keys go with the kernels of their GPU', () => {
    const q = make([1, 200, 2, 64]);
    const kernelOf = (pageSize: number, options = {}) => {
      const pages = make([2, pageSize, 2, 64]);
      const pageTable = tensor(Int32Array.of(1, 0), [1, 2]);
      return explain(q, pages, pages, { pageTable, seqlensK: [pageSize + 3], ...options }).kernel;
    };
    const plain = onHopper ? 'sm90.forward' : 'sm80.forward.featured';
    for (const pageSize of [8, 16, 24, 256]) expect(kernelOf(pageSize)).toBe(plain);
    expect(kernelOf(16, { softcap: 5 })).toBe(`${family}.forward.featured`);
    expect(kernelOf(12)).toBe('sm80.forward.featured');
  });

  testOnGpu('sequences of few and of many queries take a launch each', () => {
    const plan = (...lengths: number[]) => {
      const cuSeqlens = [0, ...lengths].map((_, n) =>
        lengths.slice(0, n).reduce((sum, length) => sum + length, 0),
      );
      const x = randn([cuSeqlens.at(-1) ?? 0, 2, 64], { seed: 1n, dtype: 'bfloat16' });
      return explain(x, x, x, { cuSeqlensQ: cuSeqlens, cuSeqlensK: cuSeqlens, causal: true });
    };
    expect(plan(1, 5)).toMatchObject({ kernel: 'sm80.decode', launches: 1 });
    expect(plan(1, 40)).toMatchObject({ kernel: 'sm80.forward.featured', launches: 2 });
    expect(plan(200, 1, 40)).toMatchObject({ kernel: `${family}.forward`, launches: 3 });
    expect(plan(200, 1)).toMatchObject({ kernel: `${family}.forward`, launches: 2 });
    expect(plan(200, 70)).toMatchObject({ kernel: `${family}.forward`, launches: 1 });
  });

  testOnGpu('lengths of keys go with the plain kernel', () => {
    const seqlensK = tensor([100, 200], [2], { dtype: 'int32' });
    expect(kernel([2, 200, 2, 64], [2, 200, 2, 64], { seqlensK })).toBe(`${family}.forward`);
  });
});
