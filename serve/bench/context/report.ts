import { medianOf } from '../../../bench/spread.js';
import type { Measured, Moved, Times } from './decoding.js';
import type { ContextBenchOptions } from './options.js';

export interface ContextReport extends Measured {
  readonly options: ContextBenchOptions;
  readonly machine: string;
  readonly load: number;
  readonly moved: Moved;
}

const ms = (value: number) => `${value.toFixed(3)} ms`.padStart(12);
const kib = (value: number) => `${(value / 1024).toFixed(1)} KiB`;

export function printReport(report: ContextReport): void {
  const { options, machine, load, moved, alone, apart, empty, furthest } = report;
  if (options.json) {
    console.log(JSON.stringify(report));
    return;
  }
  const { tokens, layers, heads, kvHeads, headDim, dtype } = options;
  const { workers, threads, workerThreads, rows: sentAs, replies } = options;
  console.log(`${machine}, load ${load.toFixed(1)}`);
  console.log(
    `${tokens} tokens, ${layers} layers, ${heads} heads over ${kvHeads} of ${headDim}, ${dtype}; ` +
      `runs of ${options.run}, ${alone.tokens.length} steps; rows ${sentAs}, replies ${replies}`,
  );
  const rows: [string, Times][] = [
    [`one process, ${threads} threads`, alone],
    [`${workers} processes of ${workerThreads} threads, NATS`, apart],
    ['the same over some pages', empty],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  console.log(`${''.padEnd(width)}   layer median       least   token median`);
  for (const [name, times] of rows) {
    const { layers: each, tokens: all } = times;
    const figures = [medianOf(each), Math.min(...each), medianOf(all)].map(ms).join('');
    console.log(`${name.padEnd(width)}  ${figures}`);
  }
  const { messages, sent, received } = apart;
  console.log(
    `per token and layer: ${messages} requests, ${kib(sent)} sent, ${kib(received)} received`,
  );
  console.log(
    `moved: ${kib(moved.bytes / moved.tokens)} and ` +
      `${((1000 * moved.milliseconds) / moved.tokens).toFixed(1)} µs per token of ${layers} layers`,
  );
  console.log(`furthest apart: ${furthest.toExponential(1)}`);
}
