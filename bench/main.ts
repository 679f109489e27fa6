// `npm run bench`: runs suites and reports what they found. Results go to stdout, progress to
// stderr.
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { devices, version } from '../lib/index.js';
import type { Context } from './context.js';
import { Limits } from './limits.js';
import { describeMachine } from './machine.js';
import { type Options, parseCommandLine } from './options.js';
import { findOnnxRuntime } from './peers/onnxruntime.js';
import { ProgressBar } from './progress-bar.js';
import { compareResults } from './report/compare.js';
import { markdownOf } from './report/markdown.js';
import { writePage } from './report/page.js';
import { resultPage } from './report/result-page.js';
import { showMachine, showSuite } from './report/terminal.js';
import { commandOf, type Result, readResult, resultName, writeResult } from './result-file.js';
import type { Row } from './row.js';
import type { Suite } from './suite.js';

const here = path.dirname(fileURLToPath(import.meta.url));

/** Every file of bench/suites/ became a file beside this one. */
async function loadSuites(): Promise<Suite[]> {
  const files = readdirSync(here).filter((name) => /^suite-.*\.js$/.test(name));
  const modules = await Promise.all(
    files.map((name) => import(new URL(name, import.meta.url).href) as Promise<{ suite: Suite }>),
  );
  return modules.map(({ suite }) => suite).sort((a, b) => a.rank - b.rank);
}

function contextOf(options: Options): Context {
  const threads = devices().find(({ name }) => name === 'cpu')?.threads ?? 1;
  const { quick = false, read, peers, seqlens, headDims, dtypes } = options;
  const { rounds = quick ? 2 : 5, seconds = quick ? 0.1 : 0.3, patience } = options;
  return {
    choice: { quick, read, peers, seqlens, headDims, dtypes },
    pace: { rounds, turnSeconds: seconds, patienceSeconds: patience },
    limits: new Limits(threads),
    onnxRuntime: peers ? findOnnxRuntime(threads) : null,
  };
}

async function measure(
  suites: readonly Suite[],
  context: Context,
  command: string,
): Promise<Result> {
  const { limits, onnxRuntime } = context;
  const machine = describeMachine({ devices, version }, onnxRuntime?.version ?? null);
  console.log(showMachine(machine));
  if (context.choice.peers && onnxRuntime === null) {
    console.log('onnxruntime-node is not installed: --install-peers adds it to the comparison.');
  }
  const begin = new Date();
  // Ahead of everything else, for a peak that nothing has warmed or slowed yet.
  limits.fma();
  limits.bf16Dot();
  const scaling = limits.scaling();
  for (const doubt of limits.doubts(scaling)) console.log(doubt);
  const cases = suites.map((suite) => ({ suite, list: suite.cases(context) }));
  const progress = new ProgressBar(cases.reduce((sum, { list }) => sum + list.length, 0));
  const rows: Row[] = [];
  try {
    for (const { suite, list } of cases) {
      const own: Row[] = [];
      for (const item of list) {
        progress.begin(item.label);
        own.push(...(await item.run(context)));
        progress.done();
      }
      progress.pause(() => console.log(showSuite(suite, limits.settled(own))));
      rows.push(...own);
    }
  } finally {
    progress.stop();
  }
  const doubts = limits.doubts(scaling);
  for (const doubt of doubts) console.log(doubt);
  return {
    format: 1,
    date: begin.toISOString(),
    seconds: Math.round((Date.now() - begin.getTime()) / 1000),
    command,
    machine,
    scaling,
    doubts,
    rows: limits.settled(rows),
  };
}

async function main(args: string[]): Promise<void> {
  const all = await loadSuites();
  const { suites, options } = parseCommandLine(args, all);
  if (options.compare) {
    const [before, after] = options.compare.map(readResult);
    console.log(compareResults(before, after));
    return;
  }
  // Read when the addon is loaded, which has not happened yet.
  if (options.threads) process.env.FLASH_ATTENTION_NUM_THREADS = String(options.threads);
  let result: Result;
  if (options.from) {
    result = readResult(options.from);
    console.log(showMachine(result.machine));
    for (const suite of suites) {
      const rows = result.rows.filter((row) => row.suite === suite.name);
      if (rows.length > 0) console.log(showSuite(suite, rows));
    }
  } else {
    result = await measure(suites, contextOf(options), commandOf(args));
  }
  if (options.markdown) console.log(markdownOf(result));
  const root = path.dirname(here);
  if (options.json && !options.from) {
    const usual = path.join(root, 'bench', 'results', `${resultName(result)}.json`);
    const file = options.json === true ? usual : options.json;
    writeResult(file, result);
    console.log(`wrote ${path.relative(process.cwd(), file)}`);
  }
  if (options.html) {
    const usual = path.join(here, `${resultName(result)}.html`);
    const file = options.html === true ? usual : options.html;
    writePage(file, resultPage(result, suites), path.join(root, 'bench', 'report'));
    console.log(`wrote ${path.relative(process.cwd(), file)}`);
  }
}

await main(process.argv.slice(2));
