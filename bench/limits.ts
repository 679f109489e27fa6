import { benchAddon, type Peak } from './native.js';
import type { LimitKind, Row } from './row.js';
import { isSteady } from './spread.js';

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

/**
 * Below this share of what one thread does times their number, threads have no core each: some of
 * them are the two halves of one core, or others compute on it.
 */
const coresOfTheirOwn = 0.75;

/** Measures the machine's limits again and again beside the figures they bound. */
export class Limits {
  readonly threads: number;
  readonly hasBf16Dot: boolean;
  readonly #best = new Map<LimitKind, number>();
  readonly #least = new Map<LimitKind, number>();

  constructor(threads: number) {
    this.threads = threads;
    this.hasBf16Dot = benchAddon.bf16DotPeak(1, 1) !== null;
  }

  fma(threads = this.threads): Peak {
    const peak = benchAddon.fmaPeak(threads, repeats);
    if (threads === this.threads) this.#remember('fma', peak.perSecond);
    return peak;
  }

  bf16Dot(threads = this.threads): Peak | null {
    const peak = benchAddon.bf16DotPeak(threads, repeats);
    if (peak && threads === this.threads) this.#remember('bf16-dot', peak.perSecond);
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
   * What all threads together do of what one does times their number: 1 where each has a core. The
   * best of some attempts.
   */
  scaling(): number {
    const attempts = Array.from({ length: 3 }, () => {
      const alone = benchAddon.fmaPeak(1, repeats).perSecond;
      return benchAddon.fmaPeak(this.threads, repeats).perSecond / (alone * this.threads);
    });
    return Math.max(...attempts);
  }

  /** What is wrong with this machine's peaks, by its `scaling` and by those measured so far. */
  doubts(scaling: number): string[] {
    const percent = (share: number) => `${Math.round(100 * share)} %`;
    const doubts: string[] = [];
    if (scaling < coresOfTheirOwn) {
      doubts.push(
        `${this.threads} threads do ${percent(scaling)} of ${this.threads} times what one does: ` +
          'they have no core each.',
      );
    }
    for (const kind of this.#best.keys()) {
      if (this.#isSteady(kind)) continue;
      const [least, most] = [this.#least, this.#best].map((of) => of.get(kind) as number);
      doubts.push(
        `The ${kind} peak moved by ${percent(1 - least / most)} during the run: no shares of it.`,
      );
    }
    return doubts;
  }

  /**
   * Arithmetic does not wander as memory bandwidth does: every figure is held against the highest
   * peak of the whole run, lest a peak that was disturbed flatter its neighbours. None is held
   * against a peak that was not steady.
   */
  settled(rows: readonly Row[]): Row[] {
    return rows.map(({ limit, ...row }) => {
      if (!limit || limit.kind === 'read') return limit ? { ...row, limit } : row;
      const perSecond = this.#best.get(limit.kind) as number;
      return this.#isSteady(limit.kind) ? { ...row, limit: { kind: limit.kind, perSecond } } : row;
    });
  }

  /** The limit for matrix products on operands of this kind. */
  arithmetic(dtype: string): LimitKind {
    return dtype === 'bfloat16' && this.hasBf16Dot ? 'bf16-dot' : 'fma';
  }

  #isSteady(kind: LimitKind): boolean {
    return isSteady(this.#least.get(kind) ?? 0, this.#best.get(kind) ?? 0);
  }

  #remember(kind: LimitKind, perSecond: number): void {
    this.#best.set(kind, Math.max(perSecond, this.#best.get(kind) ?? 0));
    this.#least.set(kind, Math.min(perSecond, this.#least.get(kind) ?? Infinity));
  }
}
