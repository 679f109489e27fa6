import { freemem } from 'node:os';
import type { Context } from '../context.js';
import { type MemoryContestant, measureMemory } from '../memory.js';
import { groupsOf } from '../report/figures.js';
import { memoryChart } from '../report/row-charts.js';
import type { Row } from '../row.js';
import { type AttentionShape, inherentBytes } from '../shape.js';
import type { BenchCase, Suite } from '../suite.js';

interface Series {
  readonly group: string;
  readonly causal: boolean;
  readonly seqlens: readonly number[];
  readonly seqlenQ: (seqlenK: number) => number;
  readonly contestants: readonly MemoryContestant[];
}

const square: Series = {
  group: 'causal, as many queries as keys',
  causal: true,
  seqlens: [1024, 2048, 4096, 8192, 16384],
  seqlenQ: (seqlenK) => seqlenK,
  contestants: ['flash-attention', 'GroupQueryAttention', 'MultiHeadAttention', 'standard'],
};

const wide: Series = {
  group: '256 queries',
  causal: false,
  seqlens: [8192, 16384, 32768, 65536, 131072],
  seqlenQ: () => 256,
  contestants: ['flash-attention', 'MultiHeadAttention', 'standard'],
};

/** These keep all of S, P and what else they need: so many times the scores. */
const quadraticCopies: Partial<Record<MemoryContestant, number>> = {
  MultiHeadAttention: 3,
  standard: 1,
};

function fits(who: MemoryContestant, shape: AttentionShape): boolean {
  const scores = 4 * shape.heads * shape.seqlenQ * shape.seqlenK;
  return (quadraticCopies[who] ?? 0) * scores < 0.6 * freemem();
}

async function run(context: Context, series: Series, seqlenK: number): Promise<Row[]> {
  const shape: AttentionShape = {
    batch: 1,
    heads: 16,
    kvHeads: 16,
    headDim: 64,
    causal: series.causal,
    seqlenQ: series.seqlenQ(seqlenK),
    seqlenK,
  };
  const isThere = (who: MemoryContestant) =>
    who === 'flash-attention' ||
    (context.choice.peers && (who === 'standard' || context.onnxRuntime !== null));
  const { threads } = context.limits;
  const rows: Row[] = [];
  for (const contestant of series.contestants) {
    if (!isThere(contestant) || !fits(contestant, shape)) continue;
    const { who, peakMemory } = await measureMemory(contestant, 'forward', shape, threads);
    rows.push({
      suite: 'memory',
      group: series.group,
      x: seqlenK,
      who,
      peakMemory,
      inherentMemory: inherentBytes(shape, 4),
    });
  }
  return rows;
}

export const suite: Suite = {
  name: 'memory',
  summary: 'how far one call makes a process grow, float32, 16 heads, head dim 64',
  rank: 4,
  section: {
    title: 'Memory',
    words:
      'Growth of a fresh process at its highest point during one call: 16 heads, head dim 64, float32. ' +
      'The dashed line is what inputs and output take.',
    charts: (rows) => groupsOf(rows).map(([name, group]) => memoryChart(name, group)),
  },
  cases({ choice }): BenchCase[] {
    return [square, wide].flatMap((series) => {
      const seqlens = choice.seqlens ?? series.seqlens.slice(0, choice.quick ? 2 : undefined);
      return seqlens.map((seqlen) => ({
        label: `memory: ${series.group}, ${seqlen} keys`,
        run: (context: Context) => run(context, series, seqlen),
      }));
    });
  },
};
