// The block-sparse patterns of the library, in the size of the page.
import { bigBirdGrid } from '../../lib/block-mask/big-bird.js';
import { documentGrid } from '../../lib/block-mask/document.js';
import { type BlockGrid, isVisible } from '../../lib/block-mask/grid.js';
import { longformerGrid } from '../../lib/block-mask/longformer.js';
import { randomIntegers } from '../../lib/block-mask/random.js';
import type { Pattern, Settings } from './settings.js';

/** Whether the token at position i sees the one at position j. */
export type Sees = (i: number, j: number) => boolean;

type PatternSettings = Pick<Settings, 'n' | 'seed'>;

const grids: Record<Exclude<Pattern, 'none'>, (settings: PatternSettings) => BlockGrid> = {
  longformer: ({ n }) =>
    longformerGrid({ seqlen: n, window: Math.ceil(n / 12), globalTokens: 2, blockSize: 8 }),
  bigbird: ({ n, seed }) =>
    bigBirdGrid({
      seqlen: n,
      window: 1,
      globalBlocks: 1,
      randomBlocks: 1,
      seed: BigInt(seed),
      blockSize: 8,
    }),
  document: ({ n, seed }) => documentGrid(documentIds(n, seed), { blockSize: 8 }),
};

/** Documents of random lengths, one behind the other. */
function documentIds(n: number, seed: number): number[] {
  const random = randomIntegers(BigInt(seed));
  const ids: number[] = [];
  for (let id = 0; ids.length < n; id++) {
    const length = Math.ceil(n / 8) + random(Math.ceil(n / 4));
    for (let t = 0; t < length && ids.length < n; t++) ids.push(id);
  }
  return ids;
}

/** The predicate of the pattern that is chosen; undefined for none. */
export function seesOf({
  pattern,
  ...settings
}: PatternSettings & { pattern: Pattern }): Sees | undefined {
  if (pattern === 'none') return undefined;
  const grid = grids[pattern](settings);
  const bits = grid.bits();
  return (i, j) => isVisible(grid.geometry, grid.table, bits, 0, i, j);
}
