// What a 64-bit library of macOS needs and exports (the Mach-O format).
import { readFileSync } from 'node:fs';

const loadDylib = 0xc;
const symbolTable = 0x2;
const codeSignature = 0x1d;
const minimumVersion = 0x24;
const buildVersion = 0x32;
const runPath = 0x8000001c;

export function readMachO(file) {
  const bytes = readFileSync(file);
  const u32 = (at) => bytes.readUInt32LE(at);
  const text = (at) => bytes.toString('latin1', at, bytes.indexOf(0, at));
  const version = (x) => [x >>> 16, (x >>> 8) & 255];
  const found = { cpu: u32(4), libraries: [], exports: [], signed: false, runPath: false };
  for (let i = 0, at = 32; i < u32(16); i++, at += u32(at + 4)) {
    const command = u32(at);
    if (command === loadDylib) found.libraries.push(text(at + u32(at + 8)));
    if (command === codeSignature) found.signed = true;
    if (command === runPath) found.runPath = true;
    if (command === minimumVersion) found.needs = version(u32(at + 8));
    if (command === buildVersion) found.needs = version(u32(at + 12));
    if (command === symbolTable) {
      const [symbols, count, strings] = [u32(at + 8), u32(at + 12), u32(at + 16)];
      for (let symbol = symbols; symbol < symbols + count * 16; symbol += 16) {
        const type = bytes[symbol + 4];
        // External, not private to the library, not for debuggers, and in one of its sections.
        const exported = (type & 0xf1) === 1 && (type & 0xe) === 0xe;
        if (exported) found.exports.push(text(strings + u32(symbol)).replace(/^_/, ''));
      }
    }
  }
  return found;
}
