// What a suite yields: one figure a row.
import type { Interval, Spread } from './spread.js';

/** Which limit of the machine bounds a figure. */
export type LimitKind = 'fma' | 'bf16-dot' | 'read';

/** A limit of the machine, per second: operations or bytes. */
export interface Limit {
  readonly kind: LimitKind;
  readonly perSecond: number;
}

/**
 * One figure: of one contestant at one point of one group. Absent fields do not apply to the suite.
 */
export interface Row {
  readonly suite: string;
  /**
   * What was computed, such as `full, head dim 64`. The rows of a group are one table and one
   * chart.
   */
  readonly group: string;
  /** Where in the group: a sequence length, mostly. */
  readonly x: number;
  readonly who: string;
  /** Seconds per call. */
  readonly time?: Spread;
  /** Of one call. */
  readonly flops?: number;
  /** Of one call: what it must at least read and write. */
  readonly bytes?: number;
  /** Absent also where the limit itself moved too much to judge by. */
  readonly limit?: Limit;
  /** Of a peer: its time over that of our float32 beside it, from pairs of turns. */
  readonly toOurs?: Interval;
  /**
   * Largest deviation from float64 over sampled rows, as a multiple of the results' root mean
   * square.
   */
  readonly error?: number;
  /**
   * Share of the machine that other processes took meanwhile; absent where the system does not say.
   */
  readonly disturbance?: number;
  /** Growth of the process at its highest point, in bytes; includes `inherent`. */
  readonly peakMemory?: number;
  /** Bytes of inputs and one output. */
  readonly inherentMemory?: number;
  /** Bytes of a cache's pages that its sequences hold. */
  readonly heldMemory?: number;
  /** How much later than planned a 1 ms timer ticked while the call ran, in seconds. */
  readonly lateness?: Spread;
  /** Per second, where that is the figure itself. */
  readonly rate?: { readonly perSecond: number; readonly unit: 'FLOP' | 'B' };
}

/** The name of our own contestants begins with this. */
export const ours = 'flash-attention';

export const isOurs = (row: Pick<Row, 'who'>): boolean => row.who.startsWith(ours);
export const isOnnxRuntime = (row: Row): boolean => row.who.startsWith('onnxruntime');
export const isStandard = (row: Row): boolean => row.who.startsWith('standard attention');
