// The operand numbers of csrc/cuda/ptx/wgmma.h, the half of it that the executor replaces: in the
// PTX that nvcc makes of test/simt/every_wrapper_sm90.cu. The SIMT executor cannot see them.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
// @ts-expect-error: plain JavaScript
import { emitPtx, nvcc, wgmmaProducts, wrongOperands } from '../scripts/ptxas/wgmma.mjs';
import { testIf } from './support/device.js';

const testWithNvcc = testIf(nvcc !== undefined, 'there is no nvcc');
const source = 'test/simt/every_wrapper_sm90.cu';

interface Product {
  readonly n: number;
  readonly types: readonly string[];
  readonly accumulators: readonly string[];
  readonly a: string | readonly string[];
  readonly b: string;
  readonly adds: string;
  readonly immediates: readonly string[];
  readonly position: number;
}

const line = (d: string, rest: string, adds = '%r9') =>
  `setp.ne.b32 add, ${adds}, 0;\nwgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {${d}}, ${rest};`;
const good = '%f1, %f2, %f3, %f4';

test.each([
  ['a descriptor for a', line(good, '%rd1, %rd2, add, 1, 1, 0, 1'), []],
  ['registers for a', line(good, '{%r1, %r2, %r3, %r4}, %rd2, add, 1, 1, 1'), []],
  ['too few accumulators', line('%f1, %f2', '%rd1, %rd2, add, 1, 1, 0, 0'), ['4 accumulators']],
  [
    'one accumulator twice',
    line('%f1, %f2, %f3, %f3', '%rd1, %rd2, add, 1, 1, 0, 0'),
    ['accumulators that differ, in float registers'],
  ],
  [
    'three registers of a',
    line(good, '{%r1, %r2, %r3}, %rd2, add, 1, 1, 1'),
    ['a in four 32-bit registers or a descriptor'],
  ],
  [
    'one register of a twice',
    line(good, '{%r1, %r2, %r3, %r3}, %rd2, add, 1, 1, 1'),
    ['registers of a that differ'],
  ],
  ['b as a', line(good, '%rd2, %rd2, add, 1, 1, 0, 1'), ['b in a descriptor of its own']],
  [
    'whether to add from a',
    line(good, '{%r1, %r2, %r3, %r9}, %rd2, add, 1, 1, 1'),
    ['another register for whether to add'],
  ],
  [
    'a transposition too many',
    line(good, '{%r1, %r2, %r3, %r4}, %rd2, add, 1, 1, 1, 0'),
    ['1 transpositions'],
  ],
  ['a transposition too few', line(good, '%rd1, %rd2, add, 1, 1, 0'), ['2 transpositions']],
])('judged: %s', (_name, ptx, wrong) => {
  const products: Product[] = wgmmaProducts(ptx);
  expect(products.map(wrongOperands)).toEqual([wrong]);
});

const widths = [32, 40, 64, 80, 96, 128, 192, 256];
const ss = (...transposed: number[]) => ({ registers: false, transposed: transposed.map(String) });
const rs = (...transposed: number[]) => ({ registers: true, transposed: transposed.map(String) });
/** What the source asks for, in its order; `adds` is undefined for a value of run time. */
const of16Bits = [
  { ...ss(0, 0), adds: 0 },
  { ...rs(0), adds: 1 },
  { ...ss(0, 1), adds: 1 },
  { ...ss(1, 0), adds: 1 },
  { ...ss(1, 1), adds: undefined },
  { ...rs(1), adds: undefined },
];
const of8Bits = [
  { ...ss(), adds: 0 },
  { ...rs(), adds: 1 },
];
const types = ['f16', 'bf16', 'e4m3'];
const wanted = types.flatMap((type) =>
  widths.flatMap((n) =>
    (type === 'e4m3' ? of8Bits : of16Bits).map((each) => ({ type, n, ...each })),
  ),
);

/** What differs between the PTX and the source, in words. */
function mistakes(ptx: string): string[] {
  const products: Product[] = wgmmaProducts(ptx);
  const found: string[] = [];
  if (products.length !== wanted.length) found.push(`${products.length} products`);
  /** The last instruction before `end` that sets `register`. */
  const setter = (register: string, end: number) => {
    const at = ptx.lastIndexOf(`\t${register}, `, end);
    return ptx.slice(ptx.lastIndexOf('\n', at) + 1, ptx.indexOf(';', at)).trim();
  };
  products.forEach((product, i) => {
    const want = wanted[i];
    const { accumulators, a, b, adds, immediates, position } = product;
    const check = (what: string, met: boolean) => {
      if (!met) found.push(`${want.type} n ${want.n}, product ${i}: ${what}`);
    };
    for (const wrong of wrongOperands(product)) check(wrong, false);
    check('shape', product.n === want.n && product.types[0] === want.type);
    check('transpositions', immediates.slice(2).join() === want.transposed.join());
    // d[j] is stored at the j-th place.
    const stores = new Map(
      [...ptx.slice(position).matchAll(/st\.global\.f32\s+\[%rd\d+(?:\+(\d+))?\], (%f\d+);/g)]
        .slice(0, want.n / 2)
        .map(([, offset, register]) => [Number(offset ?? 0) / 4, register]),
    );
    check(
      'order of accumulators',
      accumulators.every((each, j) => stores.get(j) === each),
    );
    check('a', Array.isArray(a) === want.registers);
    if (typeof a !== 'string') {
      const places = a.map((each) => /\[%rd\d+(?:\+(\d+))?\]$/.exec(setter(each, position)));
      check(
        'order of a',
        places.every((each, j) => Number(each?.[1] ?? 0) === 4 * j && each),
      );
    } else {
      check('descriptor of a', /^or\.b64/.test(setter(a, position)));
    }
    // The source moves b alone, by 32 bytes.
    check('descriptor of b', /^add\.s64\s.*, 2$/.test(setter(b, position)));
    const set = setter(adds, position);
    check(
      'whether to add',
      want.adds === undefined ? /^selp/.test(set) : set.endsWith(`, ${want.adds}`),
    );
  });
  return found;
}

testWithNvcc('every product names the registers that it is given', () => {
  expect(mistakes(emitPtx(source, ['csrc']))).toEqual([]);
});

describe('a mistake in a copy of wgmma.h that ptxas would take is seen', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-wgmma-'));
    cpSync('csrc/cuda/ptx', path.join(folder, 'cuda/ptx'), { recursive: true });
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  testWithNvcc.each([
    ['two accumulators swapped', '#define PTX_NAMES_16 "%0, %1,', '#define PTX_NAMES_16 "%1, %0,'],
    [
      'two operand numbers swapped',
      '(96, 48, 48, 49, 50, 51, 52, 53, 54)',
      '(96, 48, 49, 48, 50, 51, 52, 53, 54)',
    ],
    ['transpositions swapped', '", %" #P3 ", %" #P4', '", %" #P4 ", %" #P3'],
  ])('%s', (_name, from, to) => {
    const text = readFileSync('csrc/cuda/ptx/wgmma.h', 'utf8');
    expect(text).toContain(from);
    writeFileSync(path.join(folder, 'cuda/ptx/wgmma.h'), text.replace(from, to));
    expect(mistakes(emitPtx(source, [folder, 'csrc']))).not.toEqual([]);
  });
});
