import type { Layout } from '../lib/index.js';
import type { Context, FloatDType } from './context.js';
import { alternate, type Contestant, type Probe } from './measure.js';
import type { Judge } from './oracle.js';
import { isOurs, type LimitKind, ours, type Row } from './row.js';
import { isSteady, type Spread } from './spread.js';

/** A contestant together with what is needed to check it and to judge its time. */
export interface Entrant<Result = Float32Array> extends Contestant {
  readonly dtype: FloatDType;
  /** Of the result. */
  readonly layout: Layout;
  /** What one call computes, as float32. */
  result(): Promise<Result>;
  /** Of one call. */
  readonly flops: number;
  readonly bytes: number;
  /** What bounds it: a rate of operations, or reading so many bytes over and over. */
  readonly limit: { readonly kind: LimitKind; readonly readBytes?: number };
  dispose?(): Promise<void> | void;
}

export interface EntrantCase<Result> {
  readonly suite: string;
  readonly group: string;
  readonly x: number;
  readonly oracle: Judge<Result>;
}

/**
 * Largest deviation from float64, in units of the results' root mean square: rounding, not
 * mistakes. With one scale for all codes, rounding to 8 bits is an error of about 0.014 in each
 * element.
 */
const tolerance: Readonly<Record<FloatDType | 'int8', number>> = {
  float32: 1e-3,
  float16: 1e-2,
  bfloat16: 8e-2,
  int8: 1e-1,
};

/** What is checked of a contestant; its numbers are kept in `dtype`. */
export interface Checked<Result = Float32Array> {
  readonly name: string;
  readonly dtype: FloatDType | 'int8';
  readonly layout: Layout;
  result(): Promise<Result>;
}

/** How far contestants deviate from the oracle, by name. Throws where it is more than rounding. */
export async function deviations<Result>(
  { group, x, oracle }: Pick<EntrantCase<Result>, 'group' | 'x' | 'oracle'>,
  contestants: readonly Checked<Result>[],
): Promise<Map<string, number>> {
  const errors = new Map<string, number>();
  for (const { name, dtype, layout, result } of contestants) {
    const error = oracle.deviation(await result(), layout);
    if (!(error <= tolerance[dtype])) {
      throw new Error(
        `${name} is wrong at ${group}, ${x}: it deviates from float64 by ${error} of the ` +
          `results' root mean square; ${tolerance[dtype]} is allowed`,
      );
    }
    errors.set(name, error);
  }
  return errors;
}

/** Checks all entrants against the oracle, then times them against each other. */
export async function compete<Result>(
  context: Context,
  { suite, group, x, oracle }: EntrantCase<Result>,
  entrants: readonly Entrant<Result>[],
): Promise<Row[]> {
  try {
    const errors = await deviations({ group, x, oracle }, entrants);
    const measured = await alternate(entrants, probesOf(context, entrants), context.pace);
    const own = entrants.find(({ name }) => name === `${ours} float32`);
    return entrants.map((entrant) => {
      const { name, flops, bytes, limit } = entrant;
      const { median: perSecond, min, max } = measured.probes.get(probeName(entrant)) as Spread;
      const judged = limit.kind !== 'read' || isSteady(min, max);
      return {
        suite,
        group,
        x,
        who: name,
        time: measured.times.get(name),
        flops,
        bytes,
        ...(judged && { limit: { kind: limit.kind, perSecond } }),
        ...(own && !isOurs({ who: name }) && { toOurs: measured.ratio(name, own.name) }),
        error: errors.get(name),
        disturbance: measured.disturbances.get(name),
      };
    });
  } finally {
    for (const entrant of entrants) await entrant.dispose?.();
  }
}

type Bounded = Pick<Entrant, 'limit'>;

const probeName = ({ limit }: Bounded): string => `${limit.kind} ${limit.readBytes ?? ''}`;

/** The limits that the entrants are bound by, each once. */
function probesOf({ limits }: Context, entrants: readonly Bounded[]): Probe[] {
  const probes = new Map<string, Probe>();
  for (const entrant of entrants) {
    const { kind, readBytes } = entrant.limit;
    const name = probeName(entrant);
    probes.set(name, { name, measure: () => limits.probe(kind, readBytes) });
  }
  return [...probes.values()];
}
