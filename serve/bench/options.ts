import { availableParallelism } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { type ContestantName, contestantNames } from './contestant.js';
import { positiveInteger as integer } from './positive-integer.js';

export interface Options {
  readonly contestants: readonly ContestantName[];
  readonly load: 'closed' | 'open' | 'both';
  readonly users: readonly number[];
  readonly contexts: readonly number[];
  readonly newTokens: number;
  /** Of each user. */
  readonly requests: number;
  readonly shared: boolean;
  readonly rates: readonly number[];
  readonly seconds: number;
  readonly openContext: number;
  readonly rounds: number;
  readonly threads: number;
  readonly accuracyLevel: number;
  readonly quick?: boolean;
  readonly figures?: boolean;
  readonly json?: string | true;
  readonly html?: string | true;
  readonly from?: string;
}

const positive = (text: string): number => {
  if (!(Number(text) > 0)) throw new InvalidArgumentError('Expected a positive number.');
  return Number(text);
};

const accuracyLevel = (text: string): number => {
  if (text !== '1' && text !== '4') throw new InvalidArgumentError('Expected 1 or 4.');
  return Number(text);
};

const listOf =
  <T>(parse: (text: string) => T) =>
  (text: string): T[] =>
    text.split(',').map(parse);

const contestant = (text: string): ContestantName => {
  const found = contestantNames.find((name) => name === text);
  const names = contestantNames.join(', ');
  if (!found) throw new InvalidArgumentError(`Expected some of ${names}.`);
  return found;
};

/** What --quick is short for. */
const quick = {
  users: [2],
  contexts: [128],
  newTokens: 8,
  requests: 1,
  rates: [4],
  seconds: 1,
  openContext: 64,
  rounds: 1,
};

/** Reads the command line; ends the process for --help and for mistakes. */
export function parseCommandLine(args: readonly string[]): Options {
  const command = new Command('npm run bench:serve --')
    .description('Measures the server beside other ways to run a model in Node.')
    .usage('[options]')
    .option('--contestants <list>', `some of ${contestantNames.join(',')}`, listOf(contestant), [
      ...contestantNames,
    ])
    .addOption(
      new Option('--load <kind>', 'users who wait for their answers, or arrivals at given rates')
        .choices(['closed', 'open', 'both'])
        .default('both'),
    )
    .option('--users <list>', 'users at once of the closed loops', listOf(integer), [1, 4, 8, 16])
    .option(
      '--contexts <list>',
      'tokens of each prompt of the closed loops',
      listOf(integer),
      [256, 1024, 2048, 8192],
    )
    .option('--requests <n>', 'of each user, one after the other', integer, 2)
    .option('--no-shared', 'without the closed loops whose prompts begin with the same')
    .option(
      '--rates <list>',
      'requests a second of the open loops, as a Poisson process',
      listOf(positive),
      [1, 2, 3],
    )
    .option('--seconds <s>', 'for which requests of an open loop arrive', positive, 30)
    .option('--open-context <n>', 'tokens of each prompt of the open loops', integer, 256)
    .option('--new-tokens <n>', 'tokens of each answer', integer, 64)
    .option('--rounds <n>', 'turns of every contestant', integer, 1)
    .option('--threads <n>', 'of arithmetic, for everybody', integer, availableParallelism())
    .option(
      '--accuracy-level <n>',
      'of int4 products: 4 rounds activations, 1 does not',
      accuracyLevel,
      4,
    )
    .option('--quick', 'small prompts and short answers: whether everybody works')
    .option('--figures', 'only what the figures need; ends with 1 when one does not hold')
    .option('--json [file]', 'write the result (default serve/bench/results/<date>-<cpu>.json)')
    .option(
      '--html [file]',
      'write a page with charts (default serve/build-bench/<date>-<cpu>.html)',
    )
    .option('--from <file>', 'measure nothing: report the result in this JSON file')
    .addOption(
      new Option('--install-peers', 'first install transformers.js and node-llama-cpp (560 MB)'),
    )
    .showHelpAfterError('(add --help for what there is)')
    .parse(args, { from: 'user' });
  const options = command.opts<Options>();
  if (options.quick && options.figures) command.error('error: --figures are not measured quickly');
  if (!options.quick) return options;
  const isGiven = (name: string) => command.getOptionValueSource(name) === 'cli';
  const defaults = Object.entries(quick).filter(([name]) => !isGiven(name));
  return { ...options, ...Object.fromEntries(defaults) };
}
