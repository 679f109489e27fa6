// Safetensors in files: the format is lib/tensor/safetensors.ts.
import { elementsOf, floatDTypes, type HostTensor } from '../tensor/host-tensor.js';
import {
  entryOf,
  type Header,
  headerBytes,
  parseHeader,
  type Refuse,
  tensorNames,
} from '../tensor/safetensors.js';
import { CliError } from './cli-error.js';
import type { InputFile } from './files.js';

/**
 * Reads the header. The result reads one tensor, and no more of the file, which may exceed memory.
 */
export async function openSafetensors(
  file: InputFile,
): Promise<(name: string) => Promise<HostTensor>> {
  const refuse: Refuse = (what) => {
    throw new CliError(`${file.path}: ${what}`);
  };
  const first = file.size < 8 ? undefined : new DataView(await file.read(0, 8));
  const length = headerBytes(first, file.size, refuse);
  const header = parseHeader(new Uint8Array(await file.read(8, length)), refuse);
  const dataOffset = 8 + length;
  return async (name) => {
    if (!tensorNames(header).includes(name)) refuse(absent(header, name));
    const dataBytes = file.size - dataOffset;
    const { dtype, shape, begin, end } = entryOf(header, name, dataBytes, floatDTypes, refuse);
    const bytes = await file.read(dataOffset + begin, end - begin);
    return { dtype, shape, data: elementsOf(bytes, dtype) };
  };
}

function absent(header: Header, name: string): string {
  const names = tensorNames(header);
  const more = names.length > 12 ? `, … (${names.length} in all)` : '';
  const found = names.length > 0 ? names.slice(0, 12).join(', ') + more : 'none';
  return `tensor '${name}' is not there. There is: ${found}. --q-name, --k-name and --v-name choose.`;
}
