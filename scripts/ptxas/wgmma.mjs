// The operands of wgmma in PTX, and what the instruction demands of them (PTX ISA,
// "wgmma.mma_async"). nvcc puts the operand numbers of an asm statement in without a look at what
// they mean, and ptxas knows types alone.
import { spawnSync } from 'node:child_process';

/** The first nvcc that answers, if there is one. */
export const nvcc = ['nvcc', '/usr/local/cuda/bin/nvcc'].find(
  (each) => spawnSync(each, ['--version'], { stdio: 'ignore' }).status === 0,
);

/** PTX of a source for sm_90a. Includes are looked up in `folders`, the first one first. */
export function emitPtx(source, folders) {
  const includes = folders.map((folder) => `-I${folder}`);
  const target = ['-gencode', 'arch=compute_90a,code=compute_90a'];
  const args = ['-std=c++20', '-O3', '-DNDEBUG', ...includes, ...target, '-ptx', '-o', '-', source];
  const { status, stdout, stderr } = spawnSync(nvcc, args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) throw new Error(`nvcc failed:\n${stderr}`);
  return stdout;
}

const product =
  /setp\.ne\.b32 add, (%r\d+), 0;\s*wgmma\.mma_async\.sync\.aligned\.m64n(\d+)k(\d+)\.f32\.(\w+)\.(\w+) \{([^}]*)\}, (\{[^}]*\}|%\w+), (%\w+), add, ([^;]*);/g;

const list = (text) => text.split(',').map((each) => each.trim());

/**
 * All products of PTX, in order. `a` is a descriptor's register or a list of registers; `position`
 * is where the product ends in the text.
 */
export function wgmmaProducts(ptx) {
  return [...ptx.matchAll(product)].map((match) => {
    const [all, adds, n, k, typeA, typeB, accumulators, a, b, immediates] = match;
    return {
      n: Number(n),
      k: Number(k),
      types: [typeA, typeB],
      accumulators: list(accumulators),
      a: a.startsWith('{') ? list(a.slice(1, -1)) : a,
      b,
      adds,
      immediates: list(immediates),
      position: match.index + all.length,
    };
  });
}

const bitsOf = { f16: 16, bf16: 16, e4m3: 8 };
const allAre = (form, registers) => registers.every((each) => form.test(each));
const differ = (registers) => new Set(registers).size === registers.length;

/** What is wrong with the operands of a product, in words; empty when nothing is. */
export function wrongOperands({ n, k, types, accumulators, a, b, adds, immediates }) {
  const bits = bitsOf[types[0]];
  const inRegisters = Array.isArray(a);
  const transposable = bits === 16 ? (inRegisters ? 1 : 2) : 0;
  const scales = immediates.slice(0, 2);
  const flags = immediates.slice(2);
  const demands = [
    ['one of the types that we have, twice', bits !== undefined && types[0] === types[1]],
    ['256 bits of k', k * bits === 256],
    ['n a multiple of 8 up to 256', n % 8 === 0 && n > 0 && n <= 256],
    [`${n / 2} accumulators`, accumulators.length === n / 2],
    ['accumulators that differ, in float registers', differ(accumulators)],
    ['accumulators in float registers', allAre(/^%f\d+$/, accumulators)],
    ['a in four 32-bit registers or a descriptor', inRegisters ? a.length === 4 : /^%rd/.test(a)],
    ['registers of a that differ', !inRegisters || (differ(a) && allAre(/^%r\d+$/, a))],
    ['b in a descriptor of its own', /^%rd\d+$/.test(b) && a !== b],
    ['another register for whether to add', !(inRegisters && a.includes(adds))],
    ['scales of a and b of 1 or -1', scales.length === 2 && allAre(/^-?1$/, scales)],
    [`${transposable} transpositions`, flags.length === transposable && allAre(/^[01]$/, flags)],
  ];
  return demands.filter(([, met]) => !met).map(([demand]) => demand);
}
