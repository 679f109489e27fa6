// Writes GGUF, llama.cpp's format; the repository ggml-org/ggml describes it.
import { closeSync, openSync, writeSync } from 'node:fs';

/** An element's type in GGUF. */
export const ggmlType = { float32: 0, q4_0: 2 } as const;

export interface GgufTensor {
  readonly name: string;
  /** Innermost first. */
  readonly dims: readonly number[];
  readonly type: (typeof ggmlType)[keyof typeof ggmlType];
  readonly data: Uint8Array;
}

/** A number is a float32 or an unsigned 32-bit integer, which its key decides for the reader. */
export type GgufValue =
  | { readonly uint32: number }
  | { readonly float32: number }
  | { readonly string: string }
  | { readonly strings: readonly string[] }
  | { readonly int32s: readonly number[] };

const valueType = { uint32: 4, int32: 5, float32: 6, string: 8, array: 9 } as const;

/** Tensors begin on borders of it, within the file and among themselves. */
const alignment = 32;
const aligned = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

/** Writes a file of version 3. */
export function writeGguf(
  file: string,
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): void {
  const header = new ByteWriter();
  header.raw(Buffer.from('GGUF'));
  header.uint32(3);
  header.uint64(tensors.length);
  header.uint64(Object.keys(metadata).length);
  for (const [key, value] of Object.entries(metadata)) {
    header.string(key);
    writeValue(header, value);
  }
  let offset = 0;
  for (const { name, dims, type, data } of tensors) {
    header.string(name);
    header.uint32(dims.length);
    for (const dim of dims) header.uint64(dim);
    header.uint32(type);
    header.uint64(offset);
    offset += aligned(data.length);
  }
  const open = openSync(file, 'w');
  const write = (bytes: Uint8Array) => {
    writeSync(open, bytes);
    writeSync(open, new Uint8Array(aligned(bytes.length) - bytes.length));
  };
  write(header.bytes());
  for (const { data } of tensors) write(data);
  closeSync(open);
}

function writeValue(to: ByteWriter, value: GgufValue): void {
  if ('uint32' in value) {
    to.uint32(valueType.uint32);
    to.uint32(value.uint32);
  } else if ('float32' in value) {
    to.uint32(valueType.float32);
    to.float32(value.float32);
  } else if ('string' in value) {
    to.uint32(valueType.string);
    to.string(value.string);
  } else if ('strings' in value) {
    to.uint32(valueType.array);
    to.uint32(valueType.string);
    to.uint64(value.strings.length);
    for (const each of value.strings) to.string(each);
  } else {
    to.uint32(valueType.array);
    to.uint32(valueType.int32);
    to.uint64(value.int32s.length);
    for (const each of value.int32s) to.uint32(each >>> 0);
  }
}

/** Little-endian, as GGUF has it by default. */
class ByteWriter {
  readonly #pieces: Uint8Array[] = [];

  raw(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
  }

  uint32(value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    this.raw(bytes);
  }

  uint64(value: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    this.raw(bytes);
  }

  float32(value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value);
    this.raw(bytes);
  }

  string(text: string): void {
    const bytes = Buffer.from(text);
    this.uint64(bytes.length);
    this.raw(bytes);
  }

  bytes(): Buffer {
    return Buffer.concat(this.#pieces);
  }
}
