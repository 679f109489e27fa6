// In which order the machine code of sm_90a waits for products and computes exponentials. The
// kernels let the softmax run beside the tensor cores: products are begun, `wgmma.wait_group 1`
// waits for the older batch, exponentials follow, and then a `wgmma.wait_group 0`. ptxas is free to
// move that last wait up, prints nothing about it, and half of the speed would be gone.
import { readFileSync } from 'node:fs';
import { cubinsIn, kernelsIn } from './cubin.mjs';

// Of a 128-bit instruction: bits 0 to 11, as nvcc 12 and 13 encode them for sm_90a.
const opcode = { depbar: 0x9c5, mufu: 0x308 };
const exponential = 2; // bits 74 to 77 of MUFU
const instructionBytes = 16;

/**
 * What a kernel does in order: 'begin' of a batch of products, a wait ('wait 0', 'wait 1') or an
 * 'exp2'.
 */
function* eventsOf(code) {
  for (let at = 0; at + instructionBytes <= code.length; at += instructionBytes) {
    const low = code.readUInt32LE(at) & 0xfff;
    const [second, third] = [4, 8].map((offset) => code.readUInt32LE(at + offset));
    if (low === opcode.mufu && ((third >> 10) & 0xf) === exponential) yield 'exp2';
    if (low === opcode.depbar) yield second === 0 ? 'begin' : `wait ${(third >> 8) & 0xff}`;
  }
}

/**
 * Exponentials that follow a wait for the older of two batches: while the younger one runs, and
 * after the wait for it.
 */
export function overlap(code) {
  const found = { beside: 0, after: 0 };
  let state = '';
  for (const event of eventsOf(code)) {
    if (event === 'wait 1') state = 'beside';
    else if (event === 'wait 0') state = state === 'beside' ? 'after' : '';
    else if (event === 'begin') state = '';
    else if (state) found[state] += 1;
  }
  return found;
}

/** [symbol, overlap] of every kernel in the object files. */
export const overlaps = (files) =>
  files.flatMap((file) =>
    [...cubinsIn(readFileSync(file))]
      .flatMap(kernelsIn)
      .map(({ symbol, code }) => [symbol, overlap(code)]),
  );
