// The safetensors format (huggingface.co/docs/safetensors): eight bytes length, a JSON header that
// gives every tensor's dtype, shape and place, then the elements, little-endian and row-major.
import { CliError } from './cli-error.js';
import type { InputFile } from './files.js';
import {
  bytesPerElement,
  elementsOf,
  type FloatDType,
  type HostTensor,
  littleEndian,
} from './host-tensor.js';

/** The format's own limit. */
const maxHeaderBytes = 100_000_000;

const dtypes: Readonly<Record<string, FloatDType>> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
};

interface Entry {
  readonly dtype: string;
  readonly shape: number[];
  readonly data_offsets: [begin: number, end: number];
}

/**
 * Reads the header. The result reads one tensor, and no more of the file, which may exceed memory.
 */
export async function openSafetensors(
  file: InputFile,
): Promise<(name: string) => Promise<HostTensor>> {
  const { entries, dataOffset } = await readHeader(file);
  return async (name) => {
    const entry = checkEntry(file, entries, name, file.size - dataOffset);
    const dtype = dtypes[entry.dtype];
    const [begin, end] = entry.data_offsets;
    const bytes = await file.read(dataOffset + begin, end - begin);
    return { dtype, shape: entry.shape, data: elementsOf(bytes, dtype) };
  };
}

async function readHeader(
  file: InputFile,
): Promise<{ entries: Record<string, unknown>; dataOffset: number }> {
  if (file.size < 8) throw new CliError(`${file.path}: is not a safetensors file: too short`);
  const length = new DataView(await file.read(0, 8)).getBigUint64(0, true);
  if (length > maxHeaderBytes || 8n + length > file.size) {
    throw new CliError(
      `${file.path}: is not a safetensors file, or is truncated: its header would be ${length} bytes long`,
    );
  }
  const text = Buffer.from(await file.read(8, Number(length))).toString('utf8');
  let entries: unknown;
  try {
    entries = JSON.parse(text);
  } catch (error) {
    throw new CliError(`${file.path}: its header is no JSON: ${(error as Error).message}`);
  }
  if (typeof entries !== 'object' || entries === null || Array.isArray(entries)) {
    throw new CliError(`${file.path}: its header is no JSON object`);
  }
  return { entries: entries as Record<string, unknown>, dataOffset: 8 + Number(length) };
}

function checkEntry(
  file: InputFile,
  entries: Record<string, unknown>,
  name: string,
  dataBytes: number,
): Entry {
  const wrong = (what: string): never => {
    throw new CliError(`${file.path}: tensor '${name}' ${what}`);
  };
  if (name === '__metadata__' || !Object.hasOwn(entries, name)) {
    const names = Object.keys(entries).filter((key) => key !== '__metadata__');
    const more = names.length > 12 ? `, … (${names.length} in all)` : '';
    const found = names.length > 0 ? names.slice(0, 12).join(', ') + more : 'none';
    return wrong(`is not there. There is: ${found}. --q-name, --k-name and --v-name choose.`);
  }
  const entry = (entries[name] ?? {}) as Partial<Record<keyof Entry, unknown>>;
  if (
    typeof entry.dtype !== 'string' ||
    !isLengths(entry.shape) ||
    !isLengths(entry.data_offsets)
  ) {
    return wrong('is described wrongly: expected dtype, shape and data_offsets');
  }
  if (!Object.hasOwn(dtypes, entry.dtype)) {
    return wrong(`is of type ${entry.dtype}; expected F32, F16 or BF16`);
  }
  const [begin = 0, end = 0, ...rest] = entry.data_offsets;
  if (rest.length > 0 || entry.data_offsets.length < 2 || begin > end || end > dataBytes) {
    return wrong(
      `lies at bytes [${entry.data_offsets.join(', ')}], outside the ${dataBytes} bytes of data: the file is truncated or malformed`,
    );
  }
  const size = entry.shape.reduce((product, length) => product * length, 1);
  const expected = size * bytesPerElement(dtypes[entry.dtype]);
  if (expected !== end - begin) {
    return wrong(
      `of shape [${entry.shape.join(', ')}] and type ${entry.dtype} takes ${expected} bytes but has ${end - begin}`,
    );
  }
  return entry as Entry;
}

function isLengths(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

const names: Readonly<Record<FloatDType, string>> = {
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
};

/**
 * The contents of a safetensors file: header and elements, the wider types first to keep all
 * aligned.
 */
export function safetensorsParts(tensors: Readonly<Record<string, HostTensor>>): ArrayBufferView[] {
  const entries: Record<string, Entry> = {};
  const parts: ArrayBufferView[] = [];
  let offset = 0;
  const widestFirst = Object.entries(tensors).sort(
    ([, a], [, b]) => bytesPerElement(b.dtype) - bytesPerElement(a.dtype),
  );
  for (const [name, { dtype, shape, data }] of widestFirst) {
    const end = offset + data.byteLength;
    entries[name] = { dtype: names[dtype], shape: [...shape], data_offsets: [offset, end] };
    parts.push(littleEndian(data, bytesPerElement(dtype)));
    offset = end;
  }
  const text = Buffer.from(JSON.stringify(entries));
  const header = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8));
  header.set(text, 8);
  return [header, ...parts];
}
