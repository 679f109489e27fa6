import { Command, InvalidArgumentError, Option } from 'commander';
import type { DType } from 'flash-attention';
import type { CacheDType } from 'flash-attention/serving';

/** What goes over the wire. */
export type WireDType = Extract<DType, 'float32' | 'float16' | 'bfloat16'>;

export interface ContextBenchOptions {
  readonly tokens: number;
  readonly workers: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly dtype: CacheDType;
  readonly rows: WireDType;
  readonly replies: WireDType;
  readonly run: number;
  readonly steps: number;
  readonly rounds: number;
  readonly threads: number;
  readonly workerThreads: number;
  readonly json: boolean;
}

const integer = (text: string): number => {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('Expected a positive integer.');
  return Number(text);
};

/** Those of this process too: the addon reads how many threads it may have when it is loaded. */
export function readOptions(argv: readonly string[], cores: number): ContextBenchOptions {
  const count = (flags: string, text: string, value: number) =>
    new Option(flags, text).argParser(integer).default(value);
  const wire = (flags: string, text: string) =>
    new Option(flags, text).choices(['float32', 'float16', 'bfloat16']).default('float32');
  return new Command('bench:context')
    .description('Decoding over several processes and NATS, beside one process.')
    .addOption(count('--tokens <n>', 'keys of the sequence', 65_536))
    .addOption(count('--workers <n>', 'processes, a part each', 3))
    .addOption(count('--layers <n>', 'of the model', 2))
    .addOption(count('--heads <n>', 'of q', 32))
    .addOption(count('--kv-heads <n>', 'of k and v', 8))
    .addOption(count('--head-dim <n>', 'of all', 128))
    .addOption(
      new Option('--dtype <name>', 'of the caches')
        .choices(['float32', 'float16', 'bfloat16', 'int8', 'float8_e4m3'])
        .default('bfloat16'),
    )
    .addOption(wire('--rows <name>', 'of q, k and v as they are sent'))
    .addOption(wire('--replies <name>', 'of the outs that parts reply'))
    .addOption(count('--run <n>', 'tokens of a run of the cut, a multiple of 16', 64))
    .addOption(count('--steps <n>', 'decoded tokens of a round', 20))
    .addOption(count('--rounds <n>', 'of both, in turn', 3))
    .addOption(count('--threads <n>', 'of the one process', cores))
    .addOption(count('--worker-threads <n>', 'of each worker', 1))
    .option('--json', 'one object on stdout', false)
    .parse(argv)
    .opts();
}
