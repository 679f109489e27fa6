// Mutation tests of the CUDA kernels: makes one mistake at a time in a copy of the sources, builds
// the attention program of the SIMT executor with it, and expects that some schedule notices.
//
//   node scripts/mutate.mjs [--seeds 18] [--only <text>] [--every 1] [--first | --write]
//
// --only: mutations whose line in the table contains the text. --every: one mutation of so many.
// --first: a mutation is done with once a seed notices it. --write: puts the results into the table
// of docs/testing/mutations.md.
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { mutations } from '../test/simt/mutations.mjs';
import { ensureInstalled, root, run } from './ensure-built.mjs';

const { values: options } = parseArgs({
  options: {
    seeds: { type: 'string', default: '18' },
    only: { type: 'string', default: '' },
    every: { type: 'string', default: '1' },
    first: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});

if (options.first && options.write) throw new Error('the table of --write counts all seeds');

const out = path.join(root, 'build-simt/programs');
const work = path.join(root, 'build-simt/mutants');
const kernels = ['forward', 'backward', 'forward_sm90', 'backward_sm90', 'forward_fp8'];

/** Reports fall into these classes; the first that matches names one. */
const classes = [
  [/static_assert/, 'static_assert'],
  [/asynchronous copy in flight/, 'copy in flight'],
  [/race: /, 'race'],
  [/uninitialised/, 'uninitialised read'],
  [/proxy/, 'proxy fence missing'],
  [/wgmma/, 'wgmma'],
  [/mbarrier.*(arrivals|fenced|no mbarrier)/, 'mbarrier'],
  [/setmaxnreg/, 'registers'],
  [/bulk|tensor (load|store)/, 'tensor copy'],
  [/arrivals that nobody waits for|barrier \d+ .*left/, 'barrier'],
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
    ...[
      '-std=c++20',
      '-O1',
      '-w',
      '-Wno-psabi',
      '-pthread',
      '-ftrivial-auto-var-init=pattern',
      '-DFA_SIMT=1',
    ],
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

const page = path.join(root, 'docs/testing/mutations.md');
const marks = ['<!-- mutations -->', '<!-- end of mutations -->'];

/** Puts the results into the table, where other mutations keep the rows that they have. */
function writeTable(results) {
  const text = readFileSync(page, 'utf8');
  const begin = text.indexOf(marks[0]) + marks[0].length;
  const end = text.indexOf(marks[1]);
  const nameOf = (row) => row.split(' | ').slice(0, 2).join(' | ');
  const kept = text.slice(begin, end).split('\n');
  const rows = new Map(kept.map((row) => [nameOf(row), row]));
  for (const { kernel, fault, as, noticed } of results) {
    const row = `| ${kernel} | ${fault} | ${as.join(', ')} | ${noticed} of ${options.seeds} |`;
    rows.set(nameOf(row), row);
  }
  const inOrder = mutations.map(({ kernel, fault }) => rows.get(`| ${kernel} | ${fault}`));
  const head = ['| kernel | fault | reported as | by how many seeds |', '|---|---|---|---|'];
  const table = [...head, ...inOrder.filter((row) => row !== undefined)];
  writeFileSync(page, `${text.slice(0, begin)}\n${table.join('\n')}\n${text.slice(end)}`);
}

ensureInstalled();
run(process.execPath, [
  ...['scripts/cmake-build.cjs', 'Release', '--out', out, '-DFLASH_ATTENTION_SIMT_TESTS=ON'],
]);
await inParallel(kernels, async (kernel) => {
  const { status, text } = await output(path.join(out, 'simt-tests/simt_attention'), [
    kernel,
    options.seeds,
  ]);
  process.stdout.write(text);
  if (status !== 0) throw new Error(`${kernel}: noticed something without a mistake`);
});

const chosen = mutations
  .filter(({ kernel, fault }) => `${kernel} ${fault}`.includes(options.only))
  .filter((_, index) => index % Number(options.every) === 0);
for (const [index, mutation] of chosen.entries())
  writeMutant(path.join(work, String(index)), mutation);
rmSync(work, { recursive: true, force: true });
const results = await inParallel(chosen, judge);
rmSync(work, { recursive: true, force: true });
const missed = results.filter(({ noticed }) => noticed === 0);
if (options.write) writeTable(results);
console.log(`mutations: ${results.length - missed.length} of ${results.length} noticed`);
process.exitCode = missed.length > 0 ? 1 : 0;
