// Counts the instructions of attention calls on the CPU, one thread, with AVX2, by valgrind's
// callgrind: unlike times these are the same on every machine. docs/cpu-instructions.md has the
// table.
//
//   node scripts/instructions-report.mjs [--write]
//
// Fails when a call runs 2 % more instructions than the table says, or fewer; --write puts it
// right. Another compiler makes other code: with one that did not make the table there is nothing
// to compare.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ensureInstalled, root, run, skipped } from './ensure-built.mjs';

const { values: options } = parseArgs({ options: { write: { type: 'boolean', default: false } } });

const tolerance = 0.02;
const page = path.join(root, 'docs/cpu-instructions.md');
const out = path.join(root, 'build-cmake/counted');
const level = 'x86-64-v3';
const lanes = 8;

/** [dtype, batch, queries, keys, heads, kv heads, head dim, kind]: bench/native/counted_call.cc. */
const calls = [
  ['float32', 1, 16, 16, 12, 12, 64, 'full'],
  ['float32', 1, 128, 128, 12, 12, 32, 'full'],
  ['float32', 1, 128, 128, 12, 12, 64, 'full'],
  ['float16', 1, 128, 128, 12, 12, 64, 'full'],
  ['bfloat16', 1, 128, 128, 12, 12, 64, 'full'],
  ['float32', 1, 128, 128, 12, 12, 64, 'lengths'],
  ['float32', 1, 128, 128, 12, 12, 64, 'mask'],
  ['float32', 1, 128, 128, 12, 12, 64, 'padding'],
  ['float32', 1, 512, 512, 2, 2, 64, 'full'],
  ['float16', 1, 512, 512, 2, 2, 64, 'full'],
  ['bfloat16', 1, 512, 512, 2, 2, 64, 'full'],
  ['float32', 1, 512, 512, 2, 2, 64, 'causal'],
  ['float32', 1, 512, 512, 2, 1, 128, 'causal'],
  ['float32', 1, 1, 1024, 8, 2, 128, 'full'],
  ['float16', 1, 1, 1024, 8, 2, 128, 'full'],
  ['bfloat16', 1, 1, 1024, 8, 2, 128, 'full'],
  ['float32', 1, 128, 128, 4, 4, 64, 'backward'],
];

function nameOf([dtype, batch, queries, keys, heads, kvHeads, headDim, kind]) {
  const shape = `${batch} x ${queries} over ${keys}`;
  return `${kind}, ${dtype}, ${shape}, ${heads} heads on ${kvHeads}, head dim ${headDim}`;
}

/** Vector multiply-adds that the products of a call need at least. */
function multiplyAddsOf([, batch, queries, keys, heads, , headDim, kind]) {
  const pairs = queries * (kind === 'causal' ? (keys + 1) / 2 : keys);
  const products = kind === 'backward' ? 5 : 2;
  return (products * batch * heads * pairs * headDim) / lanes;
}

/** Such as `g++ (Debian 12.2.0-14) 12.2.0`. */
function compilerVersion() {
  const [line] = execFileSync(process.env.CXX ?? 'c++', ['--version'], {
    encoding: 'utf8',
  }).split('\n', 1);
  return line.replace(/^\S+/, 'g++').trim();
}

function count(call) {
  const args = ['--tool=callgrind', '--toggle-collect=counted_call'];
  const { status, stderr } = spawnSync(
    'valgrind',
    [
      ...args,
      '--callgrind-out-file=/dev/null',
      path.join(out, 'counted_call'),
      ...call.map(String),
    ],
    {
      encoding: 'utf8',
      env: { ...process.env, FLASH_ATTENTION_CPU_ISA: level, FLASH_ATTENTION_NUM_THREADS: '1' },
    },
  );
  const [, collected] = /Collected : (\d+)/.exec(stderr) ?? [];
  if (status !== 0 || collected === undefined) {
    throw new Error(`valgrind failed on ${nameOf(call)}:\n${stderr}`);
  }
  return Number(collected);
}

/** Instructions by the name of the call, and the compiler that made them. */
function readPage() {
  const text = existsSync(page) ? readFileSync(page, 'utf8') : '';
  const rows = [...text.matchAll(/^\| (.+?) \| ([\d,]+) \|/gm)];
  return {
    compiler: /^Compiler: (.*)\.$/m.exec(text)?.[1],
    counts: new Map(rows.map(([, name, n]) => [name, Number(n.replaceAll(',', ''))])),
  };
}

function writePage(compiler, counts) {
  const rows = calls.map((call) => {
    const n = counts.get(nameOf(call));
    const per = (n / multiplyAddsOf(call)).toFixed(2);
    return `| ${nameOf(call)} | ${n.toLocaleString('en-US')} | ${per} |`;
  });
  writeFileSync(
    page,
    `# Instructions of the CPU kernels

Written by \`npm run report:instructions -- --write\`. Instructions that one call runs on one thread with AVX2 (\`${level}\`), its plan and its
kernels, counted by callgrind. No time is measured, so the figures of two commits compare wherever they were counted. The last column
is instructions for each vector multiply-add of ${lanes} floats that the products need at least. Their register tiles of 3 x 4 vectors run 2.0:
of 24 instructions 12 multiply-adds, 7 loads, and 5 of the loop.

Compiler: ${compiler}.

| call | instructions | per multiply-add |
|---|---:|---:|
${rows.join('\n')}
`,
  );
}

const isThere = spawnSync('valgrind', ['--version'], { stdio: 'ignore' }).status === 0;
if (process.platform !== 'linux' || process.arch !== 'x64' || !isThere) {
  console.error('instructions: this takes valgrind, on x86-64 Linux.\n  apt-get install valgrind');
  process.exit(skipped);
}
const compiler = compilerVersion();
const known = readPage();
if (!options.write && known.compiler !== compiler) {
  console.error(`instructions: the table is of ${known.compiler}, here is ${compiler}`);
  process.exit(skipped);
}
ensureInstalled();
const defines = ['-DFLASH_ATTENTION_COUNTED_CALL=ON', '-DFLASH_ATTENTION_ISAS=v3'];
run(process.execPath, ['scripts/cmake-build.cjs', 'Release', '--out', out, ...defines]);

const counts = new Map(calls.map((call) => [nameOf(call), count(call)]));
if (options.write) {
  writePage(compiler, counts);
} else {
  for (const name of known.counts.keys()) {
    if (counts.has(name)) continue;
    console.error(`docs/cpu-instructions.md has ${name}, which is not counted`);
    process.exitCode = 1;
  }
  for (const [name, n] of counts) {
    const before = known.counts.get(name);
    const change = before === undefined ? Infinity : n / before - 1;
    console.log(
      `${name}: ${n}, ${before === undefined ? 'new' : `${(100 * change).toFixed(2)} %`}`,
    );
    if (Math.abs(change) > tolerance) process.exitCode = 1;
  }
  if (process.exitCode) console.error('docs/cpu-instructions.md is stale: run with --write');
}
