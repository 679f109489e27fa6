const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** Bytes in, complete code points out. Bytes that are no UTF-8 become U+FFFD. */
export class Utf8Stream {
  /** The beginning of a code point whose other bytes are still to come. */
  #held: Uint8Array = new Uint8Array(0);

  /** Whether a code point has begun and not ended. */
  get isIncomplete(): boolean {
    return this.#held.length > 0;
  }

  push(bytes: Uint8Array): string {
    const all = this.#held.length > 0 ? concat(this.#held, bytes) : bytes;
    const end = all.length - incompleteSuffix(all);
    this.#held = all.slice(end);
    return utf8.decode(all.subarray(0, end));
  }

  /** What can't become a code point any more. */
  end(): string {
    const text = utf8.decode(this.#held);
    this.#held = new Uint8Array(0);
    return text;
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}

/** How many of the last bytes begin a code point that needs more (RFC 3629, section 3). */
function incompleteSuffix(bytes: Uint8Array): number {
  for (let count = 1; count <= Math.min(3, bytes.length); count++) {
    const byte = bytes[bytes.length - count];
    const isContinuation = (byte & 0xc0) === 0x80;
    if (isContinuation) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return count < length && canContinue(bytes.subarray(bytes.length - count)) ? count : 0;
  }
  return 0;
}

/** Whether the bytes begin some code point: overlong forms and surrogates never do. */
function canContinue([lead, second]: Uint8Array): boolean {
  if (lead < 0xc2 || lead > 0xf4) return false;
  if (second === undefined) return true;
  if (lead === 0xe0) return second >= 0xa0;
  if (lead === 0xed) return second <= 0x9f;
  if (lead === 0xf0) return second >= 0x90;
  return lead !== 0xf4 || second <= 0x8f;
}
