import type { Context } from '../context.js';
import { benchAddon } from '../native.js';
import { roofline } from '../report/row-charts.js';
import type { Row } from '../row.js';
import type { BenchCase, Suite } from '../suite.js';

const KiB = 1024;
const MiB = 1024 * KiB;
/** From the innermost cache to memory. */
const sizes = [32 * KiB, 256 * KiB, 8 * MiB, 32 * MiB, 512 * MiB];

const showSize = (bytes: number): string =>
  bytes >= MiB ? `${bytes / MiB} MiB` : `${bytes / KiB} KiB`;

const threadCounts = (threads: number): number[] => (threads > 1 ? [1, threads] : [1]);

function arithmetic({ limits }: Context): Row[] {
  return threadCounts(limits.threads).flatMap((threads) => {
    const peaks = [limits.fma(threads), limits.bf16Dot(threads)].filter((peak) => peak !== null);
    return peaks.map(({ instructions, perSecond }) => ({
      suite: 'limits',
      group: 'arithmetic, by threads',
      x: threads,
      who: instructions,
      rate: { perSecond, unit: 'FLOP' as const },
    }));
  });
}

function reading({ limits }: Context, bytes: number): Row[] {
  const rows = threadCounts(limits.threads).map((threads) => ({
    suite: 'limits',
    group: 'reading, by KiB',
    x: bytes / KiB,
    who: threads === 1 ? '1 thread' : `${threads} threads`,
    rate: { perSecond: limits.read(bytes, threads), unit: 'B' as const },
  }));
  benchAddon.releaseReadBuffer();
  return rows;
}

export const suite: Suite = {
  name: 'limits',
  summary: "the machine's arithmetic peaks and read bandwidth",
  rank: 0,
  section: {
    title: 'What bounds it',
    words:
      'Each point is a call: how much it computes per byte of its inputs and outputs, and how fast. The ' +
      'dashed roof is what this machine can do from memory; caches lie above its slope.',
    charts(rows, all) {
      const calls = all.filter((row) => row.flops && row.bytes && row.time);
      const peak = calls.find(({ limit }) => limit?.kind === 'fma')?.limit?.perSecond;
      // Over the largest buffer, with all threads: the last row.
      const bandwidth = rows.filter(({ rate }) => rate?.unit === 'B').at(-1)?.rate?.perSecond;
      return peak && bandwidth ? [roofline(calls, peak, bandwidth)] : [];
    },
  },
  cases(context): BenchCase[] {
    return [
      { label: 'limits: arithmetic', run: async () => arithmetic(context) },
      ...sizes.map((bytes) => ({
        label: `limits: reading ${showSize(bytes)}`,
        run: async () => reading(context, bytes),
      })),
    ];
  },
};
