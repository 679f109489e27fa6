/** A message with token ids: the length of a JSON text, the text, then ids of 4 bytes each. */
export function encodeFrame(value: unknown, ...lists: readonly Int32Array[]): Uint8Array {
  const text = Buffer.from(JSON.stringify(value));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  const ids = lists.map(({ buffer, byteOffset, byteLength }) => {
    return Buffer.from(buffer, byteOffset, byteLength);
  });
  return Buffer.concat([length, text, ...ids]);
}

/** @throws Error for bytes that are no such message. */
export function decodeFrame(bytes: Uint8Array): { value: unknown; ids: Int32Array } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length < 4 ? Infinity : 4 + view.getUint32(0, true);
  if (end > bytes.length || (bytes.length - end) % 4 !== 0) {
    throw new Error(`A message of ${bytes.length} bytes is cut short.`);
  }
  const value: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(4, end)));
  // A copy begins where an Int32Array may begin.
  const { buffer } = Uint8Array.from(bytes.subarray(end));
  return { value, ids: new Int32Array(buffer) };
}
