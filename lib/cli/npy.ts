// NumPy's .npy format, as its documentation defines it (numpy.lib.format): magic, version, length
// of the header, a Python dictionary { descr, fortran_order, shape }, the elements.
//
// npyjs, the package for it, is what the tests compare with. It is not used here: it refuses
// bfloat16 and big-endian files, takes a truncated file for a shorter array, and wants all of a
// file in one buffer.
import { CliError } from './cli-error.js';
import type { InputFile } from './files.js';
import {
  bytesPerElement,
  elementsOf,
  type FloatDType,
  type HostTensor,
  littleEndian,
} from './host-tensor.js';

const magic = '\x93NUMPY';

/** Headers are some hundred bytes; one that claims more than this is garbage. */
const maxHeaderBytes = 1 << 20;

interface Header {
  readonly descr: string;
  readonly shape: number[];
  readonly dataOffset: number;
}

/** Whether the bytes are the beginning of a .npy file. */
export function isNpy(start: ArrayBuffer): boolean {
  return latin1(start.slice(0, magic.length)) === magic;
}

/**
 * Reads a .npy file of float32, float16 or bfloat16, in either byte order.
 *
 * @param bits what uint16 or int16 elements are the bits of: NumPy has no bfloat16 of its own, so
 * that it is also found under these types.
 */
export async function readNpy(file: InputFile, bits?: FloatDType): Promise<HostTensor> {
  const { descr, shape, dataOffset } = await readHeader(file);
  const { dtype, order } = elementType(file, descr, bits);
  const size = shape.reduce((product, length) => product * length, 1);
  const expected = size * bytesPerElement(dtype);
  const found = file.size - dataOffset;
  if (!Number.isSafeInteger(size) || found !== expected) {
    const what = `shape [${shape.join(', ')}] of ${dtype}`;
    throw new CliError(`${file.path}: ${what} takes ${expected} bytes but ${found} are there`);
  }
  return { dtype, shape, data: elementsOf(await file.read(dataOffset, expected), dtype, order) };
}

async function readHeader(file: InputFile): Promise<Header> {
  const prefix = await file.read(0, Math.min(12, file.size));
  if (!isNpy(prefix)) throw new CliError(`${file.path}: is not a .npy file`);
  if (prefix.byteLength < 12) throw new CliError(`${file.path}: ends within its header`);
  const view = new DataView(prefix);
  const version = view.getUint8(6);
  if (version < 1 || version > 3) {
    throw new CliError(`${file.path}: is of .npy version ${version}; 1 to 3 are known`);
  }
  const start = version === 1 ? 10 : 12;
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (start + length > file.size || length > maxHeaderBytes) {
    throw new CliError(`${file.path}: its header of ${length} bytes does not fit the file`);
  }
  const text = latin1(await file.read(start, length));
  return { ...parseDictionary(file, text), dataOffset: start + length };
}

function latin1(bytes: ArrayBuffer): string {
  return Buffer.from(bytes).toString('latin1');
}

function parseDictionary(file: InputFile, text: string): { descr: string; shape: number[] } {
  const descr = /['"]descr['"]\s*:\s*(\[|['"]([^'"]*)['"])/.exec(text);
  const fortran = /['"]fortran_order['"]\s*:\s*(True|False)/.exec(text)?.[1];
  const shape = /['"]shape['"]\s*:\s*\(([\d\s,L]*)\)/.exec(text)?.[1];
  if (!descr || !fortran || shape === undefined) {
    throw new CliError(`${file.path}: its header is malformed: ${text.trim().slice(0, 80)}`);
  }
  if (descr[1] === '[') {
    throw new CliError(`${file.path}: holds records; expected float32, float16 or bfloat16`);
  }
  const lengths = shape.split(',').map((part) => part.trim().replace(/L$/, ''));
  const axes = lengths.filter(Boolean).map(Number);
  // With one axis at most, both orders are the same.
  if (fortran === 'True' && axes.filter((length) => length !== 1).length > 1) {
    throw new CliError(
      `${file.path}: is in Fortran order. Save it with np.save(path, np.ascontiguousarray(x)).`,
    );
  }
  return { descr: descr[2], shape: axes };
}

function elementType(
  file: InputFile,
  descr: string,
  bits: FloatDType | undefined,
): { dtype: FloatDType; order: 'LE' | 'BE' } {
  const order = descr.startsWith('>') ? 'BE' : 'LE';
  switch (descr.replace(/^[<>|=]/, '')) {
    case 'f4':
      return { dtype: 'float32', order };
    case 'f2':
      return { dtype: 'float16', order };
    case 'V2': // what NumPy makes of the bfloat16 of ml_dtypes
      return { dtype: 'bfloat16', order };
    case 'u2':
    case 'i2':
      if (bits === 'float16' || bits === 'bfloat16') return { dtype: bits, order };
      throw new CliError(
        `${file.path}: holds 16-bit integers. If they are the bits of bfloat16 numbers, add --dtype bfloat16.`,
      );
    case 'f8':
      throw new CliError(
        `${file.path}: holds float64. Save it with np.save(path, x.astype(np.float32)).`,
      );
    default:
      throw new CliError(
        `${file.path}: holds elements of type '${descr}'; expected float32 ('<f4'), float16 ('<f2') or bfloat16 ('<V2')`,
      );
  }
}

const descriptions: Readonly<Record<FloatDType, string>> = {
  float32: '<f4',
  float16: '<f2',
  bfloat16: '<V2', // as ml_dtypes has NumPy write it
};

/** The contents of a .npy file: header and elements. */
export function npyParts({ dtype, shape, data }: HostTensor): ArrayBufferView[] {
  const axes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${descriptions[dtype]}', 'fortran_order': False, 'shape': (${axes}), }`;
  // The elements start at a multiple of 64, so that the file can be mapped into memory.
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const header = Buffer.alloc(10 + length, ' ');
  header.write(magic, 'latin1');
  header.set([1, 0], 6);
  header.writeUInt16LE(length, 8);
  header.write(text, 10, 'latin1');
  header.write('\n', 10 + length - 1);
  return [header, littleEndian(data, bytesPerElement(dtype))];
}
