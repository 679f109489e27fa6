// `npm run bench:serve`: the server beside other ways to run a model in Node. Results go to stdout,
// progress to stderr.
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { devices, version } from 'flash-attention';
import { describeMachine } from '../../bench/machine.js';
import { ProgressBar } from '../../bench/progress-bar.js';
import { distinct, groupsOf } from '../../bench/report/figures.js';
import { writePage } from '../../bench/report/page.js';
import { showMachine } from '../../bench/report/terminal.js';
import { commandOf, resultName, writeResult } from '../../bench/result-file.js';
import { type Case, type ContestantName, type Sample, titles } from './contestant.js';
import { figuresOf } from './figures.js';
import { writeBenchModel } from './model/bench-model.js';
import { type Options, parseCommandLine } from './options.js';
import { isInstalled } from './peers.js';
import { type Plan, planOf } from './plan.js';
import { servePage } from './report/page.js';
import { type Measured, readServeResult, rowOf, type ServeResult, type ServeRow } from './row.js';
import { showFigures, showPoint } from './table.js';

const here = path.dirname(fileURLToPath(import.meta.url));

interface Outcome {
  readonly all: readonly Measured[];
  readonly rows: readonly ServeRow[];
}

/** All contestants of a point in turn, round by round: a busy machine is busy for all of them. */
async function measure({ points, rounds }: Plan): Promise<Outcome> {
  const all: Measured[] = [];
  const rows: ServeRow[] = [];
  const progress = new ProgressBar(points.flat().length * rounds);
  try {
    for (const cases of points) {
      const measured = cases.map((given) => ({ given, samples: [] as Sample[] }));
      for (let round = 0; round < rounds; round++) {
        for (const { given, samples } of measured) {
          progress.begin(labelOf(given));
          samples.push(await runInChild({ ...given, seed: 1 + round }));
          progress.done();
        }
      }
      const own = measured.find(({ given }) => given.contestant === 'engine');
      const ofPoint = measured.map((each) => rowOf(each, own));
      progress.pause(() => console.log(showPoint(ofPoint)));
      all.push(...measured);
      rows.push(...ofPoint);
    }
  } finally {
    progress.stop();
  }
  return { all, rows };
}

function labelOf({ contestant, load, context, shared }: Measured['given']): string {
  const who = load.kind === 'closed' ? `${load.users} users` : `${load.rate} requests/s`;
  return `${titles[contestant]}, ${who}, context ${context}${shared ? ', shared' : ''}`;
}

function runInChild(given: Case): Promise<Sample> {
  return new Promise((resolve, reject) => {
    const child = fork(path.join(here, 'child.js'));
    let sample: Sample | undefined;
    child.on('message', (message) => {
      sample = message as Sample;
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (sample) resolve(sample);
      else reject(new Error(`${labelOf(given)}: ended with ${code ?? signal}`));
    });
    child.send(given);
  });
}

/** Those that are asked for and installed. */
function present(asked: readonly ContestantName[]): ContestantName[] {
  const isMissing = (name: ContestantName) =>
    (name === 'transformers' || name === 'llama-cpp') && !isInstalled(name);
  for (const name of asked.filter(isMissing)) {
    console.log(`${titles[name]} is not installed: --install-peers adds it to the comparison.`);
  }
  return asked.filter((name) => !isMissing(name));
}

/** Measures, and shows every point when its turn is over. */
async function run(options: Options, command: string): Promise<ServeResult> {
  const onnxRuntime = createRequire(import.meta.url)('onnxruntime-node/package.json').version;
  const machine = describeMachine({ devices, version }, onnxRuntime);
  console.log(showMachine(machine));
  const contestants = options.figures ? options.contestants : present(options.contestants);
  const folder = mkdtempSync(path.join(tmpdir(), 'serve-bench-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const begin = new Date();
  const model = writeBenchModel(folder, options.accuracyLevel);
  const { all, rows } = await measure(planOf(options, contestants, model));
  return {
    format: 1,
    date: begin.toISOString(),
    seconds: Math.round((Date.now() - begin.getTime()) / 1000),
    command,
    machine,
    figures: options.figures ? figuresOf(all) : undefined,
    rows,
  };
}

/** A result that is there, shown as if it were being measured. */
function readAndShow(file: string): ServeResult {
  const result = readServeResult(file);
  console.log(showMachine(result.machine));
  for (const [, group] of groupsOf(result.rows)) {
    for (const x of distinct(group.map((row) => row.x))) {
      console.log(showPoint(group.filter((row) => row.x === x)));
    }
  }
  return result;
}

async function main(args: readonly string[]): Promise<void> {
  const options = parseCommandLine(args);
  // Read when the addon is loaded, which has not happened yet.
  process.env.FLASH_ATTENTION_NUM_THREADS = `${options.threads}`;
  const result = options.from ? readAndShow(options.from) : await run(options, commandOf(args));
  if (result.figures) {
    console.log(showFigures(result.figures));
    if (result.figures.some(({ holds }) => !holds)) process.exitCode = 1;
  }
  const tell = (file: string) => console.log(`wrote ${path.relative(process.cwd(), file)}`);
  if (options.json && !options.from) {
    const usual = path.join(here, '../bench/results', `${resultName(result)}.json`);
    const file = options.json === true ? usual : path.resolve(options.json);
    writeResult(file, result);
    tell(file);
  }
  if (options.html) {
    const usual = path.join(here, `${resultName(result)}.html`);
    const file = options.html === true ? usual : path.resolve(options.html);
    writePage(file, servePage(result), path.join(here, '../../bench/report'));
    tell(file);
  }
}

await main(process.argv.slice(2));
