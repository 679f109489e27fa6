import { benchAddon, type Peak } from './native.js';
import type { Limit, LimitKind, Row } from './row.js';

/**
 * Short repeats, of which the best counts: one that was interrupted says nothing about the machine.
 */
const repeats = 12;
/**
 * Enough to read a quarter of a gigabyte, so that a short buffer gets as many chances as a long
 * one.
 */
const readRepeats = (bytes: number): number =>
  Math.min(Math.max(Math.ceil(2 ** 28 / bytes), 3), repeats);

/** Measures the machine's limits again and again beside the figures they bound. */
export class Limits {
  readonly threads: number;
  readonly hasBf16Dot: boolean;
  readonly #best = new Map<LimitKind, number>();

  constructor(threads: number) {
    this.threads = threads;
    this.hasBf16Dot = benchAddon.bf16DotPeak(1, 1) !== null;
  }

  fma(threads = this.threads): Peak {
    const peak = benchAddon.fmaPeak(threads, repeats);
    if (threads === this.threads) this.#raise('fma', peak.perSecond);
    return peak;
  }

  bf16Dot(threads = this.threads): Peak | null {
    const peak = benchAddon.bf16DotPeak(threads, repeats);
    if (peak && threads === this.threads) this.#raise('bf16-dot', peak.perSecond);
    return peak;
  }

  /** Bytes per second from wherever a buffer of `bytes` fits. */
  read(bytes: number, threads = this.threads): number {
    return benchAddon.readBandwidth(bytes, threads, readRepeats(bytes));
  }

  /** Measures one limit once; `bytes` for `read`. */
  probe(kind: LimitKind, bytes = 0): number {
    if (kind === 'read') return this.read(bytes);
    return (kind === 'fma' ? this.fma() : this.bf16Dot())?.perSecond ?? 0;
  }

  /**
   * Arithmetic does not wander as memory bandwidth does: every figure is held against the highest
   * peak of the whole run, lest a peak that was disturbed flatter its neighbours.
   */
  settle(rows: readonly Row[]): void {
    for (const { limit } of rows) {
      if (limit && limit.kind !== 'read') limit.perSecond = this.#best.get(limit.kind) as number;
    }
  }

  /** The limit for matrix products on operands of this kind. */
  arithmetic(dtype: string): LimitKind {
    return dtype === 'bfloat16' && this.hasBf16Dot ? 'bf16-dot' : 'fma';
  }

  #raise(kind: LimitKind, perSecond: number): void {
    this.#best.set(kind, Math.max(perSecond, this.#best.get(kind) ?? 0));
  }
}

export const limitOf = (kind: LimitKind, perSecond: number): Limit => ({ kind, perSecond });
