// The safetensors format (huggingface.co/docs/safetensors): eight bytes length, a JSON header that
// gives every tensor's dtype, shape and place, then the elements, little-endian and row-major.
import { dtypeSize } from './dtype.js';
import { type HostTensor, littleEndian } from './host-tensor.js';

/** Throws what is wrong with a file, as the predicate of a sentence about it. */
export type Refuse = (what: string) => never;

/** The dtypes that files hold, by their names there. */
const named = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I32: 'int32',
  I8: 'int8',
  F8_E4M3: 'float8_e4m3',
} as const;

export type FileDType = (typeof named)[keyof typeof named];

const nameOf = Object.fromEntries(
  Object.entries(named).map(([name, dtype]) => [dtype, name]),
) as Readonly<Record<FileDType, string>>;

/** The format's own limit. */
const maxHeaderBytes = 100_000_000;

/** What a header is before it is looked at. */
export type Header = Readonly<Record<string, unknown>>;

/** A tensor of a file, and which bytes of its data it is. */
export interface Entry<D extends FileDType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** Bytes of the header of a file of `size` bytes, by the first eight of it. */
export function headerBytes(first: DataView | undefined, size: number, refuse: Refuse): number {
  if (first === undefined || size < 8) return refuse('is not a safetensors file: too short');
  const length = first.getBigUint64(0, true);
  if (length > maxHeaderBytes || 8n + length > size) {
    refuse(`is not a safetensors file, or is truncated: its header would be ${length} bytes long`);
  }
  return Number(length);
}

export function parseHeader(bytes: Uint8Array, refuse: Refuse): Header {
  let header: unknown;
  try {
    header = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    refuse(`has a header that is no JSON: ${(error as Error).message}`);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    refuse('has a header that is no JSON object');
  }
  return header as Header;
}

/** The header of a file in memory, and the bytes after it. */
export function openSafetensors(
  bytes: Uint8Array<ArrayBuffer>,
  refuse: Refuse,
): { readonly header: Header; readonly data: Uint8Array<ArrayBuffer> } {
  const first = bytes.byteLength < 8 ? undefined : new DataView(bytes.buffer, bytes.byteOffset, 8);
  const begin = 8 + headerBytes(first, bytes.byteLength, refuse);
  return { header: parseHeader(bytes.subarray(8, begin), refuse), data: bytes.subarray(begin) };
}

/** What `__metadata__` of a header holds. */
export function metadataOf(header: Header): Readonly<Record<string, unknown>> {
  // biome-ignore lint/complexity/useLiteralKeys: not a name like the others
  return (header['__metadata__'] ?? {}) as Record<string, unknown>;
}

/** The names of all tensors. */
export function tensorNames(header: Header): string[] {
  return Object.keys(header).filter((key) => key !== '__metadata__');
}

/** A tensor of a file that has `dataBytes` bytes after its header. */
export function entryOf<D extends FileDType>(
  header: Header,
  name: string,
  dataBytes: number,
  allowed: readonly D[],
  refuse: Refuse,
): Entry<D> {
  const wrong: Refuse = (what) => refuse(`has a tensor '${name}' that ${what}`);
  if (!Object.hasOwn(header, name)) refuse(`has no tensor '${name}'`);
  const { dtype, shape, data_offsets: offsets } = (header[name] ?? {}) as Record<string, unknown>;
  if (typeof dtype !== 'string' || !isLengths(shape) || !isLengths(offsets)) {
    return wrong('is described wrongly: expected dtype, shape and data_offsets');
  }
  const known = allowed.find((each) => nameOf[each] === dtype);
  if (known === undefined) {
    const names = allowed.map((each) => nameOf[each]);
    const last = names.pop();
    const expected = names.length > 0 ? `${names.join(', ')} or ${last}` : last;
    return wrong(`is of type ${dtype}; expected ${expected}`);
  }
  const [begin = 0, end = 0] = offsets;
  if (offsets.length !== 2 || begin > end || end > dataBytes) {
    wrong(
      `lies at bytes [${offsets.join(', ')}], outside the ${dataBytes} bytes of data: the file is truncated or malformed`,
    );
  }
  const expected = shape.reduce((product, length) => product * length, dtypeSize[known]);
  if (expected !== end - begin) {
    wrong(
      `of shape [${shape.join(', ')}] and type ${dtype} takes ${expected} bytes but has ${end - begin}`,
    );
  }
  return { dtype: known, shape, begin, end };
}

function isLengths(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

/**
 * The contents of a safetensors file: header and elements, the wider types first to keep all
 * aligned.
 */
export function safetensorsParts(
  tensors: Readonly<Record<string, HostTensor<FileDType>>>,
  metadata?: Readonly<Record<string, string>>,
): ArrayBufferView[] {
  const header: Record<string, unknown> = metadata ? { __metadata__: metadata } : {};
  const parts: ArrayBufferView[] = [];
  let offset = 0;
  const widestFirst = Object.entries(tensors).sort(
    ([, a], [, b]) => dtypeSize[b.dtype] - dtypeSize[a.dtype],
  );
  for (const [name, { dtype, shape, data }] of widestFirst) {
    const end = offset + data.byteLength;
    header[name] = { dtype: nameOf[dtype], shape: [...shape], data_offsets: [offset, end] };
    parts.push(littleEndian(data, dtypeSize[dtype]));
    offset = end;
  }
  const text = Buffer.from(JSON.stringify(header));
  const head = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8, ' ');
  head.writeBigUInt64LE(BigInt(head.length - 8));
  head.set(text, 8);
  return [head, ...parts];
}

/** A safetensors file in memory. */
export function safetensorsBytes(
  tensors: Readonly<Record<string, HostTensor<FileDType>>>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  const parts = safetensorsParts(tensors, metadata);
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), offset);
    offset += part.byteLength;
  }
  return bytes;
}
