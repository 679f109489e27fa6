// scripts/ptxas: what it reads out of ptxas' words and machine code, and the occupancy
// it computes.
import {
  blocksPerMultiprocessor,
  laterGpus,
  parsePtxas,
  shortName,
  wgmmaAdvice,
  // @ts-expect-error: plain JavaScript
} from '../scripts/ptxas/parse.mjs';
// @ts-expect-error: plain JavaScript
import { occupancyTable } from '../scripts/ptxas/occupancy.mjs';
// @ts-expect-error: plain JavaScript
import { tableOf } from '../scripts/ptxas/page.mjs';
// @ts-expect-error: plain JavaScript
import { overlap } from '../scripts/ptxas/schedule.mjs';

const log = `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z1aPf' for 'sm_80'
ptxas info    : Function properties for _Z1aPf
    40 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 38 registers, used 0 barriers, 40 bytes cumulative stack size, 384 bytes cmem[0]
ptxas info    : Compile time = 100.895 ms
ptxas info    : Compiling entry function '_Z1bPf' for 'sm_90'
ptxas info    : Function properties for _Z1bPf
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 1024 bytes smem, 528 bytes cmem[0]`;

test('every kernel and target of a log', () => {
  expect(parsePtxas(log)).toEqual([
    { symbol: '_Z1aPf', arch: 'sm_80', stack: 40, spills: 20, registers: 38, staticShared: 0 },
    { symbol: '_Z1bPf', arch: 'sm_90', stack: 0, spills: 0, registers: 255, staticShared: 1024 },
  ]);
});

test('advice about wgmma and setmaxnreg, and nothing else', () => {
  const advice =
    'ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async is serialized';
  expect(wgmmaAdvice(`${log}\n${advice}\nptxas info    : (C7601) another`)).toEqual([advice]);
});

test('short names', () => {
  expect(
    shortName('void fa::cuda::sm80::forward<ptx::f16, 64, false>(fa::cuda::sm80::ForwardParams)'),
  ).toBe('forward<ptx::f16, 64, false>');
  expect(
    shortName(
      'fa::cuda::(anonymous namespace)::convert_kernel(fa::cuda::(anonymous namespace)::ConvertParams)',
    ),
  ).toBe('convert_kernel');
  expect(
    shortName(
      'void fa::cuda::sm90::forward<fa::cuda::sm90::ForwardTraits<ptx::f16, 64, 64, (fa::cuda::sm90::ForwardVariant)1> >(fa::cuda::sm90::ForwardParams)',
    ),
  ).toBe('sm90::forward<ForwardTraits<ptx::f16, 64, 64, (fa::cuda::sm90::ForwardVariant)1> >');
});

// Worked by hand after the CUDA occupancy rules.
test.each([
  ['sm_80', { registers: 168, threads: 128, shared: 0 }, 3], // registers: 12 warps
  ['sm_80', { registers: 32, threads: 128, shared: 81920 }, 2], // shared memory: 2 x 81 of 164 KiB
  ['sm_80', { registers: 32, threads: 256, shared: 0 }, 8], // threads: 2048
  ['sm_86', { registers: 32, threads: 256, shared: 0 }, 6], // threads: 1536
  ['sm_90', { registers: 128, threads: 256, shared: 73728 }, 2], // registers: 16 warps
  ['sm_80', { registers: 255, threads: 256, shared: 0 }, 1],
])('blocks on %s of %p: %i', (arch, kernel, blocks) => {
  expect(blocksPerMultiprocessor(arch, kernel)).toBe(blocks);
});

test('what is made of PTX for later GPUs is in no table', () => {
  const uses = { registers: 168, shared: 0, stack: 0, spills: 0 };
  const targets = { sm_80: uses };
  const later = Object.fromEntries(laterGpus.map((arch: string) => [arch, uses]));
  const table = (all: object) => tableOf([{ name: 'forward', targets: all }]);
  expect(table({ ...targets, ...later })).toBe(table(targets));
});

test('occupancy: one row for float16 and bfloat16, what bounds each architecture', () => {
  const row = (type: string, uses: string) => `| \`forward<${type}, false, 0>\` | ${uses} |`;
  const table = [
    '| kernel | for | threads | registers | shared | stack | spills | blocks |',
    '|---|---|---|---|---|---|---|---|',
    row('ptx::bf16', 'sm_80, sm_86 | 128 | 255 | 65536 | 0 | 0 | '),
    row('ptx::f16', 'sm_80, sm_86 | 128 | 255 | 65536 | 0 | 0 | '),
    row('float', 'sm_80, sm_90 | 128 | 248 / 250 | 40960 | 0 | 0 | '),
  ].join('\n');
  const tiles = ['ptx::bf16', 'ptx::f16', 'float'].map((type) => [
    `forward<${type}, false, 0>`,
    { tile: '128 x 64' },
  ]);
  const sources = new Map([
    ['csrc/cuda/sm80/forward.cu', { table }],
    ['csrc/cuda/sm90/forward.cu', { table: 'of no interest' }],
  ]);
  expect(
    occupancyTable(sources, new Map(tiles as never))
      .split('\n')
      .slice(2),
  ).toEqual([
    '| `forward<16 bit, false, 0>` | 128 x 64 | 255 | 64 | 2 x 4: both | 1 x 4: shared |  |',
    '| `forward<float, false, 0>` | 128 x 64 | 248 / 250 | 40 | 2 x 4: registers |  | 2 x 4: registers |',
  ]);
});

describe('exponentials between the waits for two batches of products', () => {
  const instruction = (...words: number[]) => {
    const bytes = Buffer.alloc(16);
    for (const [i, word] of words.entries()) bytes.writeUInt32LE(word, 4 * i);
    return bytes;
  };
  const begin = instruction(0x9c5);
  const wait = (batches: number) => instruction(0x9c5, 1, batches << 8);
  const exp2 = instruction(0xabc308, 0, 2 << 10);
  const reciprocal = instruction(0x308, 0, 4 << 10);
  const found = (...code: Buffer[]) => overlap(Buffer.concat(code));

  test('are beside the younger one, or wait for it', () => {
    expect(found(begin, begin, wait(1), exp2, reciprocal, exp2, wait(0), begin)).toEqual({
      beside: 2,
      after: 0,
    });
    expect(found(begin, begin, wait(1), exp2, wait(0), exp2, exp2, begin, exp2)).toEqual({
      beside: 1,
      after: 2,
    });
  });

  test('of one batch alone there are none', () => {
    expect(found(begin, wait(0), exp2, begin, wait(0), exp2)).toEqual({ beside: 0, after: 0 });
  });
});
