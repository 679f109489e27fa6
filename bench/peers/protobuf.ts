// As much of the protocol buffer wire format as an ONNX model needs
// (https://protobuf.dev/programming-guides/encoding).

/** The bytes of one field, or of several. */
export type Bytes = Uint8Array;

export function concat(parts: readonly Bytes[]): Bytes {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Seven bits a byte, the lowest first; negative numbers as 64-bit two's complement. */
function varint(value: number | bigint): Bytes {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  do {
    const more = rest > 0x7fn;
    bytes.push(Number(rest & 0x7fn) | (more ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Uint8Array.from(bytes);
}

const tag = (field: number, wireType: number): Bytes => varint(field * 8 + wireType);

/** int32, int64, uint64, bool and enum fields. */
export const integer = (field: number, value: number | bigint): Bytes =>
  concat([tag(field, 0), varint(value)]);

/** float fields. */
export function float(field: number, value: number): Bytes {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return concat([tag(field, 5), bytes]);
}

/** bytes, string (UTF-8) and embedded message fields. */
export function block(field: number, value: Bytes | string): Bytes {
  const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value;
  return concat([tag(field, 2), varint(bytes.length), bytes]);
}
