import type { Context } from '../context.js';
import type { Chart } from '../report/chart.js';
import { distinct, groupsOf } from '../report/figures.js';
import { durationChart, pagesChart, timeChart, tokensChart } from '../report/row-charts.js';
import type { Row } from '../row.js';
import { layerCalls, tables } from '../serving/calls.js';
import { cacheDTypes } from '../serving/filled-cache.js';
import { mixed } from '../serving/mixed-step.js';
import { atOnce, onePrefix } from '../serving/one-prefix.js';
import { oneToken } from '../serving/one-token.js';
import type { BenchCase, Suite } from '../suite.js';

function chartsOf(title: string, rows: readonly Row[]): Chart[] {
  if (rows.some(({ heldMemory }) => heldMemory !== undefined)) {
    return [tokensChart(title, rows), pagesChart(title, rows)];
  }
  if (distinct(rows.map(({ x }) => x)).length === 1) return [durationChart(title, rows)];
  return [timeChart(title, rows, { x: 'context', y: 'time of a token' })];
}

export const suite: Suite = {
  name: 'serving',
  summary: 'steps of a key-value cache: 32 heads on 8, head dim 128',
  rank: 3.5,
  section: {
    title: 'Serving',
    words:
      'Steps of a key-value cache in pages: tables, append, attention and commit, one layer of 32 ' +
      'heads on 8. Nothing that is in the cache is copied; onnxruntime, as Node gets it, copies its ' +
      'whole cache at every token.',
    charts: (rows) => groupsOf(rows).flatMap(([name, group]) => chartsOf(name, group)),
  },
  cases(context): BenchCase[] {
    const { quick, seqlens } = context.choice;
    const contexts = seqlens ?? (quick ? [4096] : [1024, 4096, 16384, 65536]);
    return [
      ...cacheDTypes.flatMap((dtype) =>
        contexts.map((keys) => ({
          label: `serving: one token after ${keys}, ${dtype}`,
          run: (of: Context) => oneToken(of, keys, dtype),
        })),
      ),
      { label: 'serving: a chunk beside decoding', run: mixed },
      ...atOnce(context).map((count) => ({
        label: `serving: ${count} on one prefix`,
        run: (of: Context) => onePrefix(of, count),
      })),
      { label: 'serving: step() and commit()', run: tables },
      { label: 'serving: calls of layers', run: layerCalls },
    ];
  },
};
