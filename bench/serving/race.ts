// Steps of a cache as contestants, checked against float64 and timed in turns.
import { synchronize, type Tensor } from '../../lib/index.js';
import type { KvCache, StepAttentionOptions, StepEntry } from '../../lib/serving/index.js';
import type { Context } from '../context.js';
import { type Checked, deviations } from '../entrant.js';
import { alternate, type Contestant } from '../measure.js';
import type { Row } from '../row.js';
import type { Spread } from '../spread.js';
import type { cacheDTypes, Rows } from './filled-cache.js';
import type { TokensOracle } from './tokens-oracle.js';

type Figures = Partial<Pick<Row, 'bytes'>>;

/** Whoever computes a step; the result is `[tokens, heads, headDim]`. */
export type Contender = Contestant & Pick<Checked, 'dtype' | 'result'>;

/** Checks contestants and times them against each other; `parts`: what is reported, per call. */
export async function race(
  { pace }: Context,
  where: Pick<Row, 'group' | 'x'>,
  oracle: TokensOracle,
  contestants: readonly Contender[],
  parts = 1,
  figures: (contestant: Contender) => Figures = () => ({}),
): Promise<Row[]> {
  const checked = contestants.map((each) => ({ ...each, layout: 'bshd' as const }));
  const errors = await deviations({ ...where, oracle }, checked);
  const { times, disturbances } = await alternate(contestants, [], pace);
  return contestants.map((contestant) => {
    const { name } = contestant;
    const time = Object.fromEntries(
      Object.entries(times.get(name) as Spread).map(([key, value]) => [
        key,
        key === 'count' ? value : value / parts,
      ]),
    ) as unknown as Spread;
    const [error, disturbance] = [errors.get(name), disturbances.get(name)];
    const measured = { time, error, disturbance, ...figures(contestant) };
    return { suite: 'serving', ...where, who: name, ...measured };
  });
}

/**
 * All layers of a step with the same rows, and its end; what it added is forgotten again. Gives
 * what `read` makes of the last layer's result.
 */
export async function decode<T = void>(
  cache: KvCache,
  entries: readonly StepEntry[],
  layers: number,
  { q, k, v }: Rows,
  options: StepAttentionOptions = {},
  read?: (out: Tensor) => Promise<T>,
): Promise<T | undefined> {
  const lengths = entries.map(({ sequence }) => sequence.length);
  const step = cache.step(entries);
  const outs = Array.from({ length: layers }, (_, layer) =>
    step.attention(layer, q, k, v, options),
  );
  const result = await read?.(outs[layers - 1]);
  await synchronize('cpu');
  for (const out of outs) out.dispose();
  step.commit();
  lengths.forEach((length, i) => {
    entries[i].sequence.truncate(length);
  });
  return result;
}

export const numbersOf = (tensor: Tensor): Promise<Float32Array> => tensor.toFloat32();

/** A step of a cache, as a contestant. */
export function stepContender(
  name: string,
  dtype: (typeof cacheDTypes)[number],
  ...[cache, entries, count, rows, options]: Parameters<typeof decode>
): Contender {
  return {
    name,
    dtype,
    call: () => decode(cache, entries, count, rows, options),
    result: async () =>
      (await decode(cache, entries, count, rows, options, numbersOf)) as Float32Array,
  };
}
