// Mutation tests of the CUDA kernels: makes one mistake at a time in a copy of the sources, builds
// the attention program of the SIMT executor with it, and expects that some schedule notices.
// docs/testing/mutations.md has the results, and of each what it was made from.
//
//   node scripts/mutate.mjs [--seeds 18] [--only <text>] [--new | --stale] [--sample <count>]
//                           [--first | --write]
//
// --only: mutations whose line in the table contains the text. --new: those that the table lacks.
// --stale: those whose kernel has changed since the table was made. --sample: so many of all that
// are left, evenly spread. --first: a mutation is done with once a seed notices it. --write: puts
// the results into the table.
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { mutations } from '../test/simt/mutations.mjs';
import { ensureInstalled, root, run } from './ensure-built.mjs';
import { compilerFlags, madeFrom, nameOf, readRows, writeRows } from './mutations-page.mjs';

const { values: options } = parseArgs({
  options: {
    seeds: { type: 'string', default: '18' },
    only: { type: 'string', default: '' },
    new: { type: 'boolean', default: false },
    stale: { type: 'boolean', default: false },
    sample: { type: 'string', default: 'Infinity' },
    first: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});

if (options.first && options.write) throw new Error('the table of --write counts all seeds');

const out = path.join(root, 'build-simt/programs');
const work = path.join(root, 'build-simt/mutants');
const kernels = [
  ...['forward', 'mla', 'mla_sm90', 'backward'],
  ...['forward_sm90', 'forward_fp8', 'backward_sm90', 'backward_sm90_wide'],
];

/** Reports fall into these classes; the first that matches names one. */
const classes = [
  [/static_assert/, 'static_assert'],
  [/asynchronous copy in flight/, 'copy in flight'],
  [/race: /, 'race'],
  [/ends before its primary/, 'no wait before the end'],
  [/waits for \d+ launches/, 'count of waits'],
  [/do not launch dependents/, 'nothing begins early'],
  [/uninitialised/, 'uninitialised read'],
  [/proxy/, 'proxy fence missing'],
  [/wgmma/, 'wgmma'],
  [/mbarrier.*(arrivals|fenced|no mbarrier)/, 'mbarrier'],
  [/setmaxnreg/, 'registers'],
  [/bulk|tensor (load|store)/, 'tensor copy'],
  [/arrivals (at barrier \d+ )?that nobody waits for|barrier \d+ .*left/, 'barrier'],
  [/out of bounds/, 'out of bounds'],
  [/misaligned/, 'misaligned'],
  [/deadlock/, 'deadlock'],
  [/divergent|lanes .* wait for it/, 'divergent warp'],
  [/never waited for/, 'copy never waited for'],
  [/bank conflicts/, 'bank conflicts'],
  [/global bytes/, 'byte counters'],
  [/wrong values/, 'wrong values'],
  [/crash/, 'crash'],
  [/hang/, 'hang'],
];

/** Runs a command; its status and what it printed. */
function output(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root });
    let text = '';
    child.stdout.on('data', (data) => (text += data));
    child.stderr.on('data', (data) => (text += data));
    child.on('close', (status) => resolve({ status, text }));
  });
}

/** The sources with one passage replaced. Throws when the passage is not there exactly once. */
function writeMutant(folder, { fault, file, from, to }) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const part of ['core', 'cuda'])
    cpSync(path.join(root, 'csrc', part), path.join(folder, part), { recursive: true });
  const target = path.join(folder, file);
  const source = readFileSync(target, 'utf8');
  const pieces = source.split(from);
  if (pieces.length !== 2) {
    throw new Error(`'${fault}': ${file} has its passage ${pieces.length - 1} times, not once`);
  }
  writeFileSync(target, pieces.join(to));
}

/** Builds the program with the mistake and lets it look; prints what it noticed. */
async function judge(mutation, index) {
  const folder = path.join(work, String(index));
  writeMutant(folder, mutation);
  const program = path.join(folder, 'attention');
  const archives = ['harness', ...kernels, 'backend'].map((name) =>
    path.join(out, 'simt-tests', `libsimt_${name}.a`),
  );
  const build = await output(process.env.CXX ?? 'c++', [
    ...compilerFlags,
    ...[`-I${folder}`, '-Icsrc/simt/include', '-Icsrc', '-Itest/simt/attention'],
    ...[
      '-xc++',
      `test/simt/attention/${mutation.kernel}_kernels.cu`,
      'test/simt/attention/attention_main.cc',
      '-xnone',
    ],
    ...['-Wl,--start-group', ...archives, '-Wl,--end-group', '-ldl', '-o', program],
  ]);
  const until = options.first ? ['first'] : [];
  let text = '';
  if (build.status === 0) {
    ({ text } = await output(program, [mutation.kernel, options.seeds, ...until]));
  } else if (/static assertion failed/.test(build.text)) {
    text = 'seed any: static_assert\n'.repeat(Number(options.seeds)); // nobody can run it
  }
  const findings = text.split('\n').filter((line) => line.startsWith('seed '));
  const kinds = findings.map((line) => classes.find(([form]) => form.test(line))?.[1] ?? line);
  rmSync(folder, { recursive: true, force: true });
  const result = { ...mutation, noticed: findings.length, as: [...new Set(kinds)] };
  const verdict = result.noticed ? result.as.join(', ') : `NOT NOTICED ${build.text}`;
  console.log(`${result.kernel}: ${result.fault}: ${verdict} (${result.noticed} seeds)`);
  return result;
}

/** Does all jobs, a few at a time; their results in order. */
async function inParallel(jobs, work) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < jobs.length) {
      const index = next++;
      results[index] = await work(jobs[index], index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, worker));
  return results;
}

const rows = readRows();
const isStale = (mutation) => rows.get(nameOf(mutation))?.hash !== madeFrom(mutation);
const asked = mutations
  .filter(({ kernel, fault }) => `${kernel} ${fault}`.includes(options.only))
  .filter((mutation) => !options.new || !rows.has(nameOf(mutation)))
  .filter((mutation) => !options.stale || isStale(mutation));
const step = Math.max(1, asked.length / Number(options.sample));
const chosen = asked.filter(
  (_, index) => Math.floor(index / step) > Math.floor((index - 1) / step),
);
if (options.stale) {
  console.log(`${mutations.length - asked.length} of ${mutations.length} are as in the table`);
  if (chosen.length < asked.length) console.log(`of the others ${chosen.length} are made again`);
}
if (chosen.length === 0) process.exit(0);

ensureInstalled();
run(process.execPath, [
  ...['scripts/cmake-build.cjs', 'Release', '--out', out, '-DFLASH_ATTENTION_SIMT_TESTS=ON'],
]);
const mutated = new Set(chosen.map(({ kernel }) => kernel));
await inParallel([...mutated], async (kernel) => {
  const { status, text } = await output(path.join(out, 'simt-tests/simt_attention'), [
    kernel,
    options.seeds,
  ]);
  process.stdout.write(text);
  if (status !== 0) throw new Error(`${kernel}: noticed something without a mistake`);
});

for (const [index, mutation] of chosen.entries())
  writeMutant(path.join(work, String(index)), mutation);
rmSync(work, { recursive: true, force: true });
const results = await inParallel(chosen, judge);
rmSync(work, { recursive: true, force: true });
const missed = results.filter(({ noticed }) => noticed === 0);
if (options.write) writeRows(results, options.seeds);
console.log(`mutations: ${results.length - missed.length} of ${results.length} noticed`);
if (options.stale && !options.write) console.log('--write renews their rows of the table');
process.exitCode = missed.length > 0 ? 1 : 0;
