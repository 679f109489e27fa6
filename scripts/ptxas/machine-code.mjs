// Machine code of kernels, as far as counting goes: where control can go from each
// instruction, and what some of them do. CUDA's disassembler need not be there. Encodings are those
// of nvcc 12 and 13 for sm_80 to sm_90a: 128 bits, the opcode in bits 0 to 11.
export const instructionBytes = 16;
const always = 7; // the predicate that holds

const control = new Map([
  [0x947, 'branch'],
  [0x547, 'branch'], // on a uniform predicate
  [0x949, 'branch'], // to where a register says
  [0x944, 'call'],
  [0x950, 'end'], // return
  [0x94d, 'end'], // exit
  [0x918, 'nop'],
]);
const indirect = 0x949;

const bits = (code, from, count) => Number((code >> BigInt(from)) & ((1n << BigInt(count)) - 1n));
const isOpcode = (opcode) => (code) => bits(code, 0, 12) === opcode;
const mufu = (which) => (code) => bits(code, 0, 12) === 0x308 && bits(code, 74, 4) === which;

/** Instructions by the names that ways can be chosen by. */
export const instructions = {
  HMMA: isOpcode(0x23c),
  HGMMA: (code) => [0x9f0, 0xdf0].includes(bits(code, 0, 12)),
  QGMMA: (code) => [0x9f3, 0xdf3].includes(bits(code, 0, 12)),
  LDGSTS: isOpcode(0xfae),
  HADD2: isOpcode(0x430), // of a constant: as int8 is converted
  HMUL2: isOpcode(0x832), // likewise: as e4m3 is, before sm_89
  'F2FP.E4M3': (code) => isOpcode(0x23e)(code) && bits(code, 89, 1) === 1, // and from sm_89 on
  'MUFU.RCP': mufu(4), // softcap's
  'MUFU.EX2': mufu(2),
};

/** Products of tensor cores, and asynchronous copies by threads. */
export const products = ['HMMA', 'HGMMA', 'QGMMA'];
export const copies = ['LDGSTS'];

/** Instructions from the one after a branch to its target. sm_90 has eight bits of it elsewhere. */
function distance(code, arch) {
  const words = Number(BigInt.asIntN(48, code >> 34n));
  const bytes = 4 * (arch.startsWith('sm_9') ? 256 * words + bits(code, 16, 8) : words);
  return bytes / instructionBytes;
}

/** Whether control may pass by: a predicate, a second one, or BRA.DIV, taken where lanes differ. */
function mayPass(code) {
  return bits(code, 12, 4) !== always || bits(code, 87, 4) !== always || bits(code, 91, 1) === 1;
}

/**
 * [{ code, branches, nop, next }] of a kernel's instructions; `next`: the numbers of those that can
 * follow. A call comes back. Where an indirect branch leads is left out.
 */
export function decode(bytes, arch) {
  const count = bytes.length / instructionBytes;
  return Array.from({ length: count }, (_, i) => {
    const at = i * instructionBytes;
    const code = bytes.readBigUInt64LE(at) | (bytes.readBigUInt64LE(at + 8) << 64n);
    const opcode = bits(code, 0, 12);
    const kind = control.get(opcode);
    const jumps = kind === 'branch' && opcode !== indirect;
    const passes = (kind !== 'branch' && kind !== 'end') || opcode === 0x547 || mayPass(code);
    const next = new Set();
    if (passes && i + 1 < count) next.add(i + 1);
    if (jumps) next.add(i + 1 + distance(code, arch));
    return { code, branches: kind === 'branch', nop: kind === 'nop', next: [...next] };
  });
}
