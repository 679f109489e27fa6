// What a DLL of 64-bit Windows imports and exports (the PE format).
import { readFileSync } from 'node:fs';

export function readPe(file) {
  const bytes = readFileSync(file);
  const u16 = (at) => bytes.readUInt16LE(at);
  const u32 = (at) => bytes.readUInt32LE(at);
  const header = u32(0x3c); // "PE\0\0", the COFF header of 20 bytes, the optional header
  const optional = header + 24;
  const sections = Array.from({ length: u16(header + 6) }, (_, i) => {
    const at = optional + u16(header + 20) + i * 40;
    return { begin: u32(at + 12), length: u32(at + 16), offset: u32(at + 20) };
  });
  /** Where a relative virtual address is in the file. */
  const place = (address) => {
    const { begin, offset } = sections.find(
      (s) => address - s.begin < s.length && address >= s.begin,
    );
    return address - begin + offset;
  };
  const text = (address) => {
    const at = place(address);
    return bytes.toString('latin1', at, bytes.indexOf(0, at));
  };
  const directory = (index) => u32(optional + 112 + index * 8);

  const libraries = [];
  if (directory(1) !== 0) {
    // 20 bytes for each library, the last one all zero; its name is the fourth number.
    for (let at = place(directory(1)); u32(at + 12) !== 0; at += 20) {
      libraries.push(text(u32(at + 12)));
    }
  }
  const exports = [];
  if (directory(0) !== 0) {
    const table = place(directory(0));
    const names = place(u32(table + 32));
    for (let i = 0; i < u32(table + 24); i++) exports.push(text(u32(names + i * 4)));
  }
  return { machine: u16(header + 4), libraries, exports };
}
