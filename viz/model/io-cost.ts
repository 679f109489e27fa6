// What attention moves and holds, in elements per head, from the closed forms in lib/reference: N
// queries and N keys of length d. The tests compare them with what the reference counts.

/** Elements moved: loads and stores together. */
export const standardTraffic = (n: number, d: number): number => 4 * n * d + 4 * n * n;

/** Tiles of FlashAttention: M / 4d keys, as many queries, but at most d. */
export function flash1Blocks(d: number, sramSize: number): { blockQ: number; blockK: number } {
  const blockK = Math.ceil(sramSize / (4 * d));
  return { blockQ: Math.min(blockK, d), blockK };
}

export function flash1Traffic(n: number, d: number, sramSize: number): number {
  const tiles = Math.ceil(n / flash1Blocks(d, sramSize).blockK);
  return 2 * n * d + tiles * n * (2 * d + 2) + n * (d + 2) * (1 + tiles);
}

export function flash2Traffic(n: number, d: number, blockQ: number): number {
  return n * d + Math.ceil(n / blockQ) * 2 * n * d + n * (d + 1);
}

/** A tile of FlashAttention-2, and what it costs. */
export interface Blocks {
  readonly blockQ: number;
  readonly blockK: number;
  /** Elements in SRAM: Q, O, m and l of the queries, K and V of the keys, S. */
  readonly held: number;
  readonly traffic: number;
}

const held = (blockQ: number, blockK: number, d: number) =>
  blockQ * (2 * d + 2) + 2 * blockK * d + blockQ * blockK;

/** Keys of a tile that kernels use: multiples of what matrix instructions take. */
const keyBlocks = [16, 32, 64, 128, 256];
const rowStep = 16;

/**
 * For each number of keys the most queries that fit into the SRAM with them, in steps of 16 where
 * 16 fit. K and V are read once per tile of queries, so the most queries move the fewest bytes.
 */
export function flash2Blocks(n: number, d: number, sramSize: number): Blocks[] {
  return keyBlocks.flatMap((blockK) => {
    const fit = Math.floor((sramSize - 2 * blockK * d) / (2 * d + 2 + blockK));
    const whole = fit < rowStep ? fit : Math.floor(fit / rowStep) * rowStep;
    const blockQ = Math.min(whole, n);
    if (blockQ < 1 || blockK > n) return [];
    const traffic = flash2Traffic(n, d, blockQ);
    return [{ blockQ, blockK, held: held(blockQ, blockK, d), traffic }];
  });
}

/** The tile that moves the least; of several, the one with the most keys. */
export function bestBlocks(n: number, d: number, sramSize: number): Blocks | undefined {
  return flash2Blocks(n, d, sramSize).reduce<Blocks | undefined>(
    (best, each) => (best && best.traffic < each.traffic ? best : each),
    undefined,
  );
}

/** The least traffic of FlashAttention-2; where no tile fits, that of one query at a time. */
export function flash2Least(n: number, d: number, sramSize: number): number {
  return bestBlocks(n, d, sramSize)?.traffic ?? flash2Traffic(n, d, 1);
}

/** S and P, which standard attention keeps in memory. */
export const standardExtra = (n: number): number => 2 * n * n;

/** lse, all that FlashAttention-2 keeps beside its inputs and its output. */
export const flashExtra = (n: number): number => n;

/** Q, K, V and O. */
export const tensors = (n: number, d: number): number => 4 * n * d;
