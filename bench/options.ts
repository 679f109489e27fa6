import { Command, InvalidArgumentError, Option } from 'commander';
import type { FloatDType } from './context.js';
import type { Suite } from './suite.js';

export interface Options {
  readonly quick?: boolean;
  readonly threads?: number;
  readonly seqlens?: readonly number[];
  readonly headDims?: readonly number[];
  readonly dtypes: readonly FloatDType[];
  readonly rounds?: number;
  readonly seconds?: number;
  readonly patience: number;
  readonly read: boolean;
  readonly peers: boolean;
  readonly json?: string | true;
  readonly html?: string | true;
  readonly markdown?: boolean;
  readonly from?: string;
  readonly compare?: readonly string[];
}

export interface CommandLine {
  readonly suites: readonly Suite[];
  readonly options: Options;
}

const dtypes: readonly FloatDType[] = ['float32', 'float16', 'bfloat16'];

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('Expected a positive number.');
  return value;
}

function notNegative(text: string): number {
  const value = Number(text);
  if (!(value >= 0)) throw new InvalidArgumentError('Expected a number, 0 or more.');
  return value;
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) {
    throw new InvalidArgumentError('Expected a positive integer.');
  }
  return value;
}

const integerList = (text: string): number[] => text.split(',').map(positiveInteger);

function dtypeList(text: string): FloatDType[] {
  return text.split(',').map((item) => {
    const found = dtypes.find((dtype) => dtype === item);
    if (!found) throw new InvalidArgumentError(`Expected some of ${dtypes.join(', ')}.`);
    return found;
  });
}

/** Reads the command line; ends the process for --help and for mistakes. */
export function parseCommandLine(args: readonly string[], all: readonly Suite[]): CommandLine {
  const program = new Command('npm run bench --')
    .description('Measures this package beside the limits of the machine and its peers.')
    .usage('[suites…] [options]')
    .argument('[suites...]', `some of ${all.map(({ name }) => name).join(', ')} (default: all)`)
    .option('--quick', 'small shapes and few repetitions: under a minute')
    .option(
      '--threads <n>',
      'threads for us and for every peer (default: the cores)',
      positiveInteger,
    )
    .option('--seqlens <list>', 'sequence lengths, such as 512,4096', integerList)
    .option(
      '--head-dims <list>',
      'head dims of the forward and backward suites, multiples of 16',
      integerList,
    )
    .option('--dtypes <list>', `of ours: some of ${dtypes.join(',')}`, dtypeList, [...dtypes])
    .option('--rounds <n>', 'turns of every contestant (default 5)', positiveInteger)
    .option('--seconds <s>', 'length of a turn (default 0.3)', positive)
    .option(
      '--patience <s>',
      'seconds that each case may wait for other processes to leave the machine alone',
      notNegative,
      10,
    )
    .option('--no-read', 'stop the clock when the work has run, without the result in JavaScript')
    .option('--no-peers', 'ourselves alone')
    .addOption(
      new Option(
        '--install-peers',
        'first install onnxruntime-node (290 MB; CPU only) in build-bench/',
      ),
    )
    .option('--json [file]', 'write the result (default bench/results/<date>-<cpu>.json)')
    .option('--html [file]', 'write a page with charts (default build-bench/<date>-<cpu>.html)')
    .option('--markdown', 'end with the figures as Markdown tables')
    .option('--from <file>', 'measure nothing: report the result in this JSON file')
    .option('--compare <files...>', 'measure nothing: compare two JSON files')
    .addHelpText('after', `\nSuites:\n${helpOf(all)}`)
    .showHelpAfterError('(add --help for what there is)');
  program.parse(args, { from: 'user' });
  const options = program.opts<Options>();
  if (options.compare && options.compare.length !== 2) {
    program.error('error: --compare takes two files');
  }
  const names = program.args;
  const unknown = names.find((name) => !all.some((suite) => suite.name === name));
  if (unknown) program.error(`error: there is no suite '${unknown}'`);
  const suites = names.length > 0 ? all.filter(({ name }) => names.includes(name)) : all;
  return { suites, options };
}

const helpOf = (suites: readonly Suite[]): string =>
  suites.map(({ name, summary }) => `  ${name.padEnd(16)} ${summary}`).join('\n');
