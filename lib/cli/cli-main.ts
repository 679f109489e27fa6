// The command line of flash-attention. Results go to stdout, everything else to stderr.
import { Command } from 'commander';
import { FlashAttentionError } from '../index.js';
import { version } from '../native/package.js';
import { build } from './build.js';
import { CliError } from './cli-error.js';
import { doctor } from './doctor.js';
import { addExplainOptions, explainCall } from './explain.js';
import { hasColor } from './format.js';
import { info } from './info.js';
import { probe } from './probe.js';
import { run } from './run.js';
import { addRunOptions } from './run-options.js';
import { viz } from './viz.js';

/** Ends well when the reader of a pipe has seen enough (`flash-attention info | head -1`). */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

const exitWith = async (code: number | Promise<number>): Promise<void> => {
  process.exitCode = await code;
};

/** The library names its options as JavaScript has them; here they are flags. */
function asFlags(message: string): string {
  return message.replace(/\boptions\.(\w+)/g, (_, name: string) => {
    return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  });
}

const program = new Command('flash-attention')
  .description('Exact, IO-aware attention for Node.js')
  .version(version)
  .configureOutput({
    getOutHasColors: () => hasColor(process.stdout),
    getErrHasColors: () => hasColor(process.stderr),
  })
  .showHelpAfterError('(add --help for what there is)');

program
  .command('info')
  .description('what attention would run on: devices, SIMD level, threads, versions')
  .option('--json', 'print one JSON object')
  .action((options) => exitWith(info(options)));

program
  .command('doctor')
  .description('check the install and say what to do; exits with 1 when something is broken')
  .option('--device <name>', 'the device that should work (default: the best there is)')
  .option('--json', 'print one JSON object')
  .action((options) => exitWith(doctor(options)));

addRunOptions(
  program
    .command('run')
    .description('attention over your own q, k and v')
    .argument('<files...>', 'q.npy k.npy v.npy, or one .safetensors file; - is standard input'),
).action((files, options) => exitWith(run(files, options)));

addExplainOptions(
  program
    .command('explain')
    .description('how a call would run: kernel, tiles, splits, FLOPs, bytes'),
).action((options) => exitWith(explainCall(options)));

program
  .command('viz')
  .description('write and open a page that shows attention tile by tile')
  .argument('[plan.json]', 'what "explain --json" or "run --json" printed; - is standard input')
  .option('--trace <trace.json>', 'what "--trace" of explain or run wrote, as a timeline')
  .option('--out <page.html>', 'where to write the page (default: a temporary folder)')
  .option('--no-open', 'do not open it')
  .action((plan, options) => exitWith(viz(plan, options)));

program
  .command('build')
  .description('compile the native addon here, where no prebuilt binary fits')
  .option('--debug', 'without optimisation, with assertions')
  .action((options) => exitWith(build(options)));

program
  .command('probe', { hidden: true })
  .argument('[device]')
  .action((device) => probe(device));

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CliError || error instanceof FlashAttentionError) {
    console.error(`error: ${asFlags(error.message)}`);
  } else {
    console.error(error);
  }
  process.exitCode = 1;
}
