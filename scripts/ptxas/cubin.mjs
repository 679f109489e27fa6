// Kernels' machine code out of cubins, which are ELF64, little endian.

function sectionsOf(elf) {
  const table = Number(elf.readBigUInt64LE(40));
  const [size, count, names] = [58, 60, 62].map((offset) => elf.readUInt16LE(offset));
  const sections = Array.from({ length: count }, (_, i) => {
    const header = elf.subarray(table + i * size);
    const [begin, length] = [24, 32].map((offset) => Number(header.readBigUInt64LE(offset)));
    return { name: header.readUInt32LE(0), bytes: elf.subarray(begin, begin + length) };
  });
  return sections.map(({ name, bytes }) => ({ name: textAt(sections[names].bytes, name), bytes }));
}

const textAt = (strings, at) => strings.subarray(at, strings.indexOf(0, at)).toString('latin1');

/** Where in each section's code functions begin, from the symbol table: by the section's number. */
function functionsOf(sections) {
  const symbolBytes = 24;
  const isFunction = 2;
  const begins = new Map();
  const table = sections.find(({ name }) => name === '.symtab')?.bytes ?? Buffer.alloc(0);
  for (let at = 0; at + symbolBytes <= table.length; at += symbolBytes) {
    if ((table.readUInt8(at + 4) & 0xf) !== isFunction) continue;
    const section = table.readUInt16LE(at + 6);
    begins.set(section, [...(begins.get(section) ?? []), Number(table.readBigUInt64LE(at + 8))]);
  }
  return begins;
}

/**
 * Every kernel of a cubin: { symbol, code, own }. Functions that are not inlined lie behind what is
 * the kernel's `own`.
 */
export function kernelsIn(elf) {
  const prefix = '.text.';
  const sections = sectionsOf(elf);
  const functions = functionsOf(sections);
  return sections.flatMap(({ name, bytes }, i) => {
    if (!name.startsWith(prefix)) return [];
    const others = (functions.get(i) ?? []).filter((begin) => begin > 0);
    const own = bytes.subarray(0, Math.min(bytes.length, ...others));
    return [{ symbol: name.slice(prefix.length), code: bytes, own }];
  });
}

/** The cubins of an object file, which begin wherever the magic number is; not compressed. */
export function* cubinsIn(object) {
  const magic = Buffer.from('\x7fELF', 'latin1');
  for (let at = object.indexOf(magic, 1); at >= 0; at = object.indexOf(magic, at + 1))
    yield object.subarray(at);
}
