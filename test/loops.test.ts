// scripts/ptxas/loops.mjs: what it counts in machine code, given as a disassembler writes it.
// @ts-expect-error: plain JavaScript
import { countKernel } from '../scripts/ptxas/loops.mjs';
// @ts-expect-error: plain JavaScript
import { decode } from '../scripts/ptxas/machine-code.mjs';

const opcodes: Record<string, number> = {
  BRA: 0x947,
  BRX: 0x949,
  CALL: 0x944,
  RET: 0x950,
  EXIT: 0x94d,
  NOP: 0x918,
  HMMA: 0x23c,
  LDGSTS: 0xfae,
  HADD2: 0x430,
  FMUL: 0x220,
  EX2: 0x308,
};

/** Lines such as `head:` and `@P0 BRA head`, as sm_80 or sm_90 encodes them. */
function assemble(text: string, arch: string): Buffer {
  const lines = text
    .trim()
    .split('\n')
    .map((line) => line.trim());
  const labels = new Map<string, number>();
  const code: string[] = [];
  for (const line of lines) {
    if (line.endsWith(':')) labels.set(line.slice(0, -1), code.length);
    else code.push(line);
  }
  const form = /^(?:@P(\d) )?(\w+)(?: P(\d))?(?: (\w+))?$/;
  const words = code.map((line, at) => {
    const [, predicate, name = '', second, target] = form.exec(line) ?? [];
    let word =
      BigInt(opcodes[name]) | (BigInt(predicate ?? 7) << 12n) | (BigInt(second ?? 7) << 87n);
    if (name === 'EX2') word |= 2n << 74n;
    if (target !== undefined) {
      const quads = BigInt((labels.get(target) ?? Number.NaN) - at - 1) * 4n;
      const high = arch === 'sm_90' ? quads >> 8n : quads;
      word |= BigInt.asUintN(48, high) << 34n;
      if (arch === 'sm_90') word |= (quads & 0xffn) << 16n;
    }
    return word;
  });
  const bytes = Buffer.alloc(16 * words.length);
  words.forEach((word, i) => {
    bytes.writeBigUInt64LE(word & 0xffffffffffffffffn, 16 * i);
    bytes.writeBigUInt64LE(word >> 64n, 16 * i + 8);
  });
  return bytes;
}

const kernel = `
  FMUL
  @P0 BRA end
head:
  LDGSTS
  @P1 BRA seldom
back:
  BRA P2 int8
  HMMA
  HMMA
  BRA join
int8:
  HADD2
  HADD2
  HADD2
  HMMA
  HMMA
join:
  @P3 BRA next
  EX2
  EX2
next:
  @P0 BRA head
end:
  EXIT
seldom:
  CALL seldom
  FMUL
inner:
  FMUL
  @P4 BRA inner
  BRA back
  BRX
pad:
  BRA pad
  NOP
  NOP
`;

describe.each(['sm_80', 'sm_90'])('code of %s', (arch) => {
  const count = (text: string, choice?: object) =>
    countKernel(decode(assemble(text, arch), arch), choice);

  test('all instructions but padding, and the shortest way with all products and copies', () => {
    expect(count(kernel)).toEqual({
      instructions: 25,
      branches: 10,
      loop: { instructions: 8, branches: 5, products: 2, copies: 1, work: 3 },
    });
  });

  test('ways are chosen by instructions that they have or have not', () => {
    const loop = { products: 2, copies: 1 };
    expect(count(kernel, { with: ['HADD2'] }).loop).toMatchObject({ ...loop, instructions: 10 });
    expect(count(kernel, { with: ['MUFU.EX2'] }).loop).toMatchObject({ ...loop, instructions: 10 });
    expect(count(kernel, { without: ['HMMA'] }).loop).toBeUndefined();
  });

  test('of two loops that with more products', () => {
    const two = `
first:
  HMMA
  @P0 BRA first
second:
  HMMA
  FMUL
  HMMA
  @P0 BRA second
  EXIT`;
    expect(count(two).loop).toMatchObject({ instructions: 4, branches: 1, products: 2 });
  });

  test('without products or copies there is no main loop', () => {
    expect(count('again:\n  FMUL\n  @P0 BRA again\n  EXIT').loop).toBeUndefined();
  });
});
