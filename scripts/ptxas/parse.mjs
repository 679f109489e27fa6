// What ptxas says of kernels, and the occupancy that follows from it.
import { execFileSync } from 'node:child_process';

/** CUDA C++ Programming Guide, "Technical specifications per compute capability". */
export const multiprocessors = {
  sm_80: { shared: 164, threads: 2048, blocks: 32 },
  sm_86: { shared: 100, threads: 1536, blocks: 16 },
  sm_90: { shared: 228, threads: 2048, blocks: 32 },
  sm_90a: { shared: 228, threads: 2048, blocks: 32 },
};
/** GPUs without machine code of ours: what ptxas makes of our PTX is what their drivers will. */
export const laterGpus = ['sm_100', 'sm_120'];

const registersOfOne = 65536;
const registerUnit = 256; // registers of a warp are allocated in steps of this
const warpUnit = 4; // and warps in steps of this, one for each quarter of the multiprocessor
const reservedShared = 1024; // of each block, by the driver

/** Blocks of a kernel that one multiprocessor holds. */
export function blocksPerMultiprocessor(arch, { registers, threads, shared }) {
  const limits = multiprocessors[arch];
  const warps = Math.ceil(threads / 32);
  const perWarp = Math.ceil((registers * 32) / registerUnit) * registerUnit;
  const byRegisters = Math.floor(registersOfOne / perWarp / warpUnit) * warpUnit;
  return Math.min(
    limits.blocks,
    Math.floor(limits.threads / (warps * 32)),
    Math.floor(byRegisters / warps),
    Math.floor((limits.shared * 1024) / (shared + reservedShared)),
  );
}

/** What ptxas has said of each kernel and target, from the text of its log. */
export function parsePtxas(text) {
  const found = [];
  for (const line of text.split('\n')) {
    const compiling = /Compiling entry function '(\w+)' for '(\w+)'/.exec(line);
    if (compiling) found.push({ symbol: compiling[1], arch: compiling[2] });
    const kernel = found.at(-1);
    if (!kernel) continue;
    const memory = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/;
    const stack = memory.exec(line);
    // Functions that were not inlined have lines of their own: what they spill counts as the
    // kernel's.
    if (stack) {
      kernel.stack = Math.max(kernel.stack ?? 0, Number(stack[1]));
      kernel.spills = (kernel.spills ?? 0) + Number(stack[2]) + Number(stack[3]);
    }
    const used = /Used (\d+) registers/.exec(line);
    if (used) {
      kernel.registers = Number(used[1]);
      kernel.staticShared = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0);
    }
  }
  return found;
}

/** What ptxas says of wgmma and setmaxnreg that it cannot do as it was told. */
export function wgmmaAdvice(text) {
  return text.split('\n').filter((line) => /\(C75\d\d\)/.test(line));
}

/** `void fa::cuda::(anonymous namespace)::merge_kernel<float>(...)` as `merge_kernel<float>`. */
export function shortName(demangled) {
  const bare = demangled
    .replace(/^void /, '')
    .replaceAll('(anonymous namespace)::', '')
    .replace(/\(fa::cuda::[^()]*\)$/, '');
  return bare.replace(/^fa::cuda::(sm80::)?/, '').replaceAll(/(?<=<)fa::cuda::sm90::/g, '');
}

/** C++ names of symbols. */
export function demangle(symbols) {
  const input = symbols.join('\n');
  return execFileSync('c++filt', { input, encoding: 'utf8' }).trimEnd().split('\n');
}

/**
 * Every option costs registers, and the kernels that have them may spill; they say so in their last
 * bool or variant.
 */
export const isPlain = (name) => !/\btrue\b|ForwardVariant\)1/.test(name);
