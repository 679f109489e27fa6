// Compiles every CUDA kernel for every target and tells what ptxas makes of it: registers, shared
// memory, stack, spills and the occupancy that follows. docs/kernel-resources.md has the table of
// the last run with --write; without it, this fails when the table of the same compiler has
// changed. It always fails when a plain kernel (one without the options that cost registers)
// spills, on advice C75xx of ptxas: that it serialises wgmma or ignores setmaxnreg, and when ptxas
// lets a softmax wait for the products that it should run beside.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ensureInstalled, globFiles, root, run } from './ensure-built.mjs';
import { overlaps } from './wgmma-schedule.mjs';

const folder = 'build-cuda';
const page = path.join(root, 'docs/kernel-resources.md');

/** CUDA C++ Programming Guide, "Technical specifications per compute capability". */
const multiprocessors = {
  sm_80: { shared: 164, threads: 2048, blocks: 32 },
  sm_86: { shared: 100, threads: 1536, blocks: 16 },
  sm_89: { shared: 100, threads: 1536, blocks: 24 },
  sm_90: { shared: 228, threads: 2048, blocks: 32 },
  sm_90a: { shared: 228, threads: 2048, blocks: 32 },
};
const registersOfOne = 65536;
const registerUnit = 256; // registers of a warp are allocated in steps of this
const warpUnit = 4; // and warps in steps of this, one for each quarter of the multiprocessor
const reservedShared = 1024; // of each block, by the driver

/** Blocks of a kernel that one multiprocessor holds. */
export function blocksPerMultiprocessor(arch, { registers, threads, shared }) {
  const limits = multiprocessors[arch];
  const warps = Math.ceil(threads / 32);
  const perWarp = Math.ceil((registers * 32) / registerUnit) * registerUnit;
  const byRegisters = Math.floor(registersOfOne / perWarp / warpUnit) * warpUnit;
  return Math.min(
    limits.blocks,
    Math.floor(limits.threads / (warps * 32)),
    Math.floor(byRegisters / warps),
    Math.floor((limits.shared * 1024) / (shared + reservedShared)),
  );
}

/** What ptxas has said of each kernel and target, from the text of its log. */
export function parsePtxas(text) {
  const found = [];
  for (const line of text.split('\n')) {
    const compiling = /Compiling entry function '(\w+)' for '(\w+)'/.exec(line);
    if (compiling) found.push({ symbol: compiling[1], arch: compiling[2] });
    const kernel = found.at(-1);
    if (!kernel) continue;
    const memory = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/;
    const stack = memory.exec(line);
    // Functions that were not inlined have lines of their own: what they spill counts as the
    // kernel's.
    if (stack) {
      kernel.stack = Math.max(kernel.stack ?? 0, Number(stack[1]));
      kernel.spills = (kernel.spills ?? 0) + Number(stack[2]) + Number(stack[3]);
    }
    const used = /Used (\d+) registers/.exec(line);
    if (used) {
      kernel.registers = Number(used[1]);
      kernel.staticShared = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0);
    }
  }
  return found;
}

/** What ptxas says of wgmma and setmaxnreg that it cannot do as it was told. */
export function wgmmaAdvice(text) {
  return text.split('\n').filter((line) => /\(C75\d\d\)/.test(line));
}

/** `void fa::cuda::(anonymous namespace)::merge_kernel<float>(...)` as `merge_kernel<float>`. */
export function shortName(demangled) {
  const bare = demangled
    .replace(/^void /, '')
    .replaceAll('(anonymous namespace)::', '')
    .replace(/\(fa::cuda::[^()]*\)$/, '');
  return bare.replace(/^fa::cuda::(sm80::)?/, '').replaceAll(/(?<=<)fa::cuda::sm90::/g, '');
}

/**
 * Every option costs registers, and the kernels that have them may spill; they say so in their last
 * bool or variant.
 */
const isPlain = (name) => !/\btrue\b|ForwardVariant\)1/.test(name);

function demangle(symbols) {
  const input = symbols.join('\n');
  return execFileSync('c++filt', { input, encoding: 'utf8' }).trimEnd().split('\n');
}

/** Threads and dynamic shared memory of the tiled kernels, by name. */
function tiles() {
  const scratch = mkdtempSync(path.join(tmpdir(), 'flash-attention-tiles-'));
  const program = path.join(scratch, 'tiles');
  const source = ['-std=c++20', '-Icsrc', 'scripts/kernel-tiles.cc', '-o', program];
  run(process.env.CXX ?? 'c++', source);
  const lines = execFileSync(program, { encoding: 'utf8' }).trimEnd().split('\n');
  rmSync(scratch, { recursive: true });
  return new Map(lines.map((line) => JSON.parse(line)).map((tile) => [tile.kernel, tile]));
}

function compile() {
  ensureInstalled();
  const options = [
    '-DFLASH_ATTENTION_PTXAS_LOG=ON',
    '-DFLASH_ATTENTION_WERROR=ON',
    `-DFLASH_ATTENTION_OUTPUT_DIR=${path.join(root, folder)}`,
  ];
  const env = { ...process.env, FLASH_ATTENTION_CUDA: 'on' };
  const command = ['scripts/cmake-build.cjs', 'Release', '--out', `${folder}/cmake`, ...options];
  run(process.execPath, command, { env });
}

const targets = ['fa_cuda', 'fa_cuda_sm90'];
const built = (target, pattern) =>
  globFiles(`${folder}/cmake/CMakeFiles/${target}.dir`, pattern).map((file) =>
    path.join(root, file),
  );
const readLogs = () =>
  targets.flatMap((target) => built(target, /\.ptxas$/)).map((log) => readFileSync(log, 'utf8'));

/** What is wrong with the order of waits and exponentials in the machine code of sm_90a. */
function scheduleFaults() {
  const all = overlaps(built('fa_cuda_sm90', /\.cu\.o$/));
  const beside = all.filter(([, { beside }]) => beside > 0);
  console.log(`${beside.length} kernels of sm_90a compute exponentials beside products`);
  if (beside.length === 0) return ['no kernel computes exponentials beside products'];
  const late = all.filter(([, { after }]) => after > 0);
  const names = late.length > 0 ? demangle(late.map(([symbol]) => symbol)).map(shortName) : [];
  return names.map((name) => `${name} waits for products before its exponentials`);
}

/** Rows of the table, by kernel: what each target has of it. */
function collect(logs) {
  const found = logs.flatMap(parsePtxas);
  const names = demangle(found.map(({ symbol }) => symbol)).map(shortName);
  const known = tiles();
  const kernels = new Map();
  found.forEach((one, i) => {
    const name = names[i];
    const tile = known.get(name);
    const shared = one.staticShared + (tile?.shared ?? 0);
    const each = kernels.get(name) ?? { name, tile, targets: {} };
    each.targets[one.arch] = { ...one, shared, threads: tile?.threads };
    kernels.set(name, each);
  });
  return [...kernels.values()].sort((a, b) =>
    a.name.localeCompare(b.name, 'en', { numeric: true }),
  );
}

function table(kernels, archs, compiler) {
  const perTarget = (kernel, value) => {
    const own = archs.filter((arch) => arch in kernel.targets);
    const all = own.map((arch) => value(kernel.targets[arch], arch));
    return all.every((one) => one === all[0]) ? `${all[0]}` : all.join(' / ');
  };
  const rows = kernels.map((kernel) => {
    const warps = ({ threads, ...target }, arch) => {
      if (!threads) return '';
      const blocks = blocksPerMultiprocessor(arch, { threads, ...target });
      return `${blocks} (${Math.round((100 * blocks * threads) / multiprocessors[arch].threads)} %)`;
    };
    const cells = [
      `\`${kernel.name}\``,
      kernel.tile?.threads ?? '',
      perTarget(kernel, ({ registers }) => registers),
      perTarget(kernel, ({ shared }) => shared),
      perTarget(kernel, ({ stack }) => stack),
      perTarget(kernel, ({ spills }) => spills),
      perTarget(kernel, warps),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return `# What the CUDA kernels use

Written by \`npm run report:ptxas -- --write\` from what ptxas says; a cell with several values has those of
${archs.filter((arch) => !arch.endsWith('a')).join(', ')} in this order; those of \`sm90\` are compiled for sm_90a alone. Compiler: ${compiler}.

- shared: bytes of a block, static and dynamic
- stack, spills: bytes of a thread; spills are stores and loads together
- blocks: how many one multiprocessor holds at a time, and how full of threads it is then; known for the kernels
  whose tiles are data (csrc/cuda/sm80 and sm90, *_tiles.h). Computed from registers, threads and shared memory, not measured.

| kernel | threads | registers | shared | stack | spills | blocks |
|---|---|---|---|---|---|---|
${rows.join('\n')}
`;
}

function compilerVersion() {
  const cache = readFileSync(path.join(root, folder, 'cmake/CMakeCache.txt'), 'utf8');
  const nvcc = /^FLASH_ATTENTION_NVCC:\w+=(.*)$/m.exec(cache)?.[1] ?? 'nvcc';
  const { stdout } = spawnSync(nvcc, ['--version'], { encoding: 'utf8' });
  return `nvcc ${/release [\d.]+, V([\d.]+)/.exec(stdout)?.[1]}`;
}

function report() {
  const started = Date.now();
  compile();
  const logs = readLogs();
  const kernels = collect(logs);
  const archs = Object.keys(multiprocessors).filter((arch) =>
    kernels.some(({ targets }) => arch in targets),
  );
  const compiler = compilerVersion();
  const text = table(kernels, archs, compiler);
  console.log(text);
  const { size } = statSync(path.join(root, folder, 'flash_attention.node'));
  console.log(
    `${kernels.length} kernels for ${archs.join(', ')}, ${(size / 2 ** 20).toFixed(1)} MiB`,
  );
  console.log(`compiled in ${((Date.now() - started) / 1000).toFixed(0)} s`);

  let failed = kernels.length === 0;
  if (failed) console.error('ptxas-report: no kernel was found');
  for (const { name, targets } of kernels) {
    for (const [arch, { spills }] of Object.entries(targets)) {
      if (spills === 0 || !isPlain(name)) continue;
      failed = true;
      console.error(`FAILED ${name} spills ${spills} bytes on ${arch}`);
    }
  }
  for (const line of [...logs.flatMap(wgmmaAdvice), ...scheduleFaults()]) {
    failed = true;
    console.error(`FAILED ${line}`);
  }
  const committed = existsSync(page) ? readFileSync(page, 'utf8') : '';
  if (process.argv.includes('--write')) writeFileSync(page, text);
  else if (committed.includes(`Compiler: ${compiler}.`) && committed !== text) {
    failed = true;
    console.error(
      'FAILED docs/kernel-resources.md is out of date: npm run report:ptxas -- --write',
    );
  }
  process.exitCode = failed ? 1 : 0;
}

if (process.argv[1] === import.meta.filename) report();
