// What nvcc put into a shared library of Linux: fat binaries, one behind the other in a section.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';
import { root } from '../ensure-built.mjs';

const magic = 0xba55ed50;
const ptx = 1;
/** Of an entry's flags: for this architecture and no later one, as sm_90a. */
const architectureSpecific = 0x100000;

/** What cmake/cuda.cmake compiles for: sm_* is machine code, compute_* PTX. */
export function architectures() {
  const text = readFileSync(path.join(root, 'cmake/cuda.cmake'), 'utf8');
  return /^set\(FLASH_ATTENTION_TARGETS (.*)\)$/m.exec(text)[1].split(' ').sort();
}

/** Where the section is in the file; undefined in a library without GPU code. */
function section(file) {
  const table = execFileSync('readelf', ['--wide', '--sections', file], { encoding: 'utf8' });
  // [Nr] Name Type Address Offset Size
  const numbers = /\s\.nv_fatbin\s+\w+\s+\w+\s+(\w+)\s+(\w+)/.exec(table);
  return numbers?.slice(1).map((digits) => Number.parseInt(digits, 16));
}

/** The modules in a section: each in one form, of machine code or PTX. */
function* modulesIn(bytes) {
  for (let at = 0; at < bytes.length; ) {
    if (bytes.readUInt32LE(at) !== magic) {
      at += 8; // fat binaries are aligned
      continue;
    }
    let entry = at + bytes.readUInt16LE(at + 6);
    const end = entry + Number(bytes.readBigUInt64LE(at + 8));
    while (entry < end) {
      const kind = bytes.readUInt16LE(entry);
      const header = bytes.readUInt32LE(entry + 4);
      const size = Number(bytes.readBigUInt64LE(entry + 8));
      const compressed = bytes.readUInt32LE(entry + 16);
      const specific = (bytes.readUInt32LE(entry + 40) & architectureSpecific) !== 0;
      const number = `${bytes.readUInt32LE(entry + 28)}${specific ? 'a' : ''}`;
      const content = bytes.subarray(entry + header, entry + header + (compressed || size));
      yield {
        name: `${kind === ptx ? 'compute' : 'sm'}_${number}`,
        packed: size,
        unpacked: compressed > 0 ? Number(bytes.readBigUInt64LE(entry + 56)) : size,
        content: compressed > 0 ? () => unzstd(content) : () => content,
      };
      entry += header + size;
    }
    at = end;
  }
}

/** What `-compress-mode=size` of nvcc has packed. */
function unzstd(content) {
  if (zlib.zstdDecompressSync) return zlib.zstdDecompressSync(content);
  return execFileSync('zstd', ['-dcq'], { input: content, maxBuffer: 2 ** 28 });
}

/** The bytes for each architecture in a section, as they are and as the driver unpacks them. */
export function sizesOf(bytes) {
  const sizes = new Map();
  for (const { name, packed, unpacked } of modulesIn(bytes)) {
    const sum = sizes.get(name) ?? { packed: 0, unpacked: 0 };
    sizes.set(name, { packed: sum.packed + packed, unpacked: sum.unpacked + unpacked });
  }
  return new Map([...sizes].sort(([a], [b]) => a.localeCompare(b)));
}

/**
 * Of each module of PTX in a section the attention kernels, by their symbols: those that are
 * written for an architecture, and those of extreme rows.
 */
export function attentionKernelsOf(bytes) {
  return [...modulesIn(bytes)]
    .filter(({ name }) => name.startsWith('compute_'))
    .map(({ content }) =>
      [
        ...content()
          .toString('latin1')
          .matchAll(/\.entry (_ZN2fa4cuda(?:4sm|\w*extreme_rows)\w+)/g),
      ]
        .map(([, symbol]) => symbol)
        .filter((symbol) => !symbol.includes('query_sum_kernel')),
    );
}

/** The section of a library, empty where it has no CUDA. */
export function gpuSection(file) {
  const place = section(file);
  return place ? readFileSync(file).subarray(place[0], place[0] + place[1]) : Buffer.of();
}
