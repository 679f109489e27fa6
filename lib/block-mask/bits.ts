// Bitmaps of partial blocks: row-major rows of 32-bit words, bit t of word w is key 32 w + t.

export function wordsPerRow(blockK: number): number {
  return Math.ceil(blockK / 32);
}

/** The lowest `count` bits of a word, 0 <= count <= 32. */
function lowBits(count: number): number {
  return count >= 32 ? -1 : (1 << count) - 1;
}

/**
 * Sets keys `from` to `to` (exclusive, cut to the block) of one row that starts at word `start`.
 */
export function setRange(
  bits: Int32Array,
  start: number,
  from: number,
  to: number,
  blockK: number,
): void {
  const first = Math.max(from, 0);
  const end = Math.min(to, blockK);
  if (first >= end) return;
  for (let word = first >> 5; word <= (end - 1) >> 5; word++) {
    const base = word * 32;
    bits[start + word] |= lowBits(end - base) & ~lowBits(Math.max(first - base, 0));
  }
}

export function getBit(bits: Int32Array, start: number, key: number): boolean {
  return ((bits[start + (key >> 5)] >>> (key & 31)) & 1) === 1;
}

/** Number of set bits among the first `rows` rows and `keys` keys of the bitmap at `start`. */
export function countBits(
  bits: Int32Array,
  start: number,
  words: number,
  rows: number,
  keys: number,
): number {
  let count = 0;
  for (let row = 0; row < rows; row++) {
    for (let word = 0; word * 32 < keys; word++) {
      const value = bits[start + row * words + word];
      count += popCount(value & lowBits(keys - word * 32));
    }
  }
  return count;
}

function popCount(word: number): number {
  let x = word - ((word >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** FNV-1a over words. */
export function hashBits(bits: Int32Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bits.length; i++) hash = Math.imul(hash ^ bits[i], 0x01000193);
  return hash;
}

export function sameBits(a: Int32Array, b: Int32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
