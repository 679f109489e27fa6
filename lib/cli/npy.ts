// NumPy's .npy format, as its documentation defines it (numpy.lib.format): magic, version, length
// of the header, a Python dictionary { descr, fortran_order, shape }, the elements.
//
// npyjs, the package for it, is what the tests compare with. It is not used here: it refuses
// bfloat16 and big-endian files, takes a truncated file for a shorter array, and wants all of a
// file in one buffer.
import { CliError } from './cli-error.js';
import type { InputFile } from './files.js';
import { dtypeSize } from '../tensor/dtype.js';
import {
  elementsOf,
  type FloatDType,
  type HostTensor,
  littleEndian,
} from '../tensor/host-tensor.js';

const magic = '\x93NUMPY';

/** Headers are some hundred bytes; one that claims more than this is garbage. */
const maxHeaderBytes = 1 << 20;

interface Header {
  readonly descr: string;
  readonly shape: number[];
  /** Whether the first axis is the one whose elements lie side by side. */
  readonly fortran: boolean;
  readonly dataOffset: number;
}

/** Whether the bytes are the beginning of a .npy file. */
export function isNpy(start: ArrayBuffer): boolean {
  return latin1(start.slice(0, magic.length)) === magic;
}

/**
 * Reads a .npy file of float32, float16 or bfloat16, in either byte order. float64 becomes float32
 * and Fortran order row-major order; `note` is told.
 *
 * @param bits what uint16 or int16 elements are the bits of: NumPy has no bfloat16 of its own, so
 * that it is also found under these types.
 */
export async function readNpy(
  file: InputFile,
  bits?: FloatDType,
  note: (text: string) => void = () => undefined,
): Promise<HostTensor> {
  const { descr, shape, fortran, dataOffset } = await readHeader(file);
  const { dtype: stored, order } = elementType(file, descr, bits);
  const size = shape.reduce((product, length) => product * length, 1);
  const expected = size * (stored === 'float64' ? 8 : dtypeSize[stored]);
  const found = file.size - dataOffset;
  if (!Number.isSafeInteger(size) || found !== expected) {
    const what = `shape [${shape.join(', ')}] of ${stored}`;
    throw new CliError(`${file.path}: ${what} takes ${expected} bytes but ${found} are there`);
  }
  const dtype = stored === 'float64' ? 'float32' : stored;
  const data =
    stored === 'float64'
      ? await readFloat64(file, dataOffset, size, order)
      : elementsOf(await file.read(dataOffset, expected), stored, order);
  if (stored === 'float64') note(`${file.path}: float64, converted to float32`);
  if (!fortran) return { dtype, shape, data };
  note(`${file.path}: in Fortran order, converted to row-major order`);
  return { dtype, shape, data: fromFortran(data, shape) };
}

/** Elements of one piece of a float64 file: twice the file would be too much to hold. */
const pieceElements = 1 << 22;

async function readFloat64(
  file: InputFile,
  start: number,
  size: number,
  order: 'LE' | 'BE',
): Promise<Float32Array> {
  const result = new Float32Array(size);
  for (let done = 0; done < size; done += pieceElements) {
    const count = Math.min(pieceElements, size - done);
    const piece = new DataView(await file.read(start + 8 * done, 8 * count));
    for (let i = 0; i < count; i++) result[done + i] = piece.getFloat64(8 * i, order === 'LE');
  }
  return result;
}

/** The elements of `shape` with the last axis innermost, from an array where the first one is. */
function fromFortran<T extends Float32Array | Uint16Array>(data: T, shape: readonly number[]): T {
  const result = data.slice() as T;
  const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((a, b) => a * b, 1));
  const position = shape.map(() => 0);
  let from = 0;
  for (let at = 0; at < result.length; at++) {
    result[at] = data[from];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++position[axis] < shape[axis]) break;
      from -= position[axis] * strides[axis];
      position[axis] = 0;
    }
  }
  return result;
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

function parseDictionary(file: InputFile, text: string): Omit<Header, 'dataOffset'> {
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
  const isOrdered = axes.filter((length) => length !== 1).length > 1;
  return { descr: descr[2], shape: axes, fortran: fortran === 'True' && isOrdered };
}

function elementType(
  file: InputFile,
  descr: string,
  bits: FloatDType | undefined,
): { dtype: FloatDType | 'float64'; order: 'LE' | 'BE' } {
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
      return { dtype: 'float64', order };
    default:
      throw new CliError(
        `${file.path}: holds elements of type '${descr}'; expected float32 ('<f4'), float16 ('<f2'), bfloat16 ('<V2') or float64 ('<f8')`,
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
  return [header, littleEndian(data, dtypeSize[dtype])];
}
