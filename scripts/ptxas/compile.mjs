// Compiles sources by nvcc with the commands of the build, one by one, and keeps what ptxas says.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { ensureInstalled, root, run } from '../ensure-built.mjs';
import { laterGpus } from './parse.mjs';
import { unitsOf } from './sources.mjs';

const folder = path.join(root, 'build-cuda/cmake');

/** The version of nvcc, if there is one. */
export function compilerVersion() {
  for (const nvcc of ['nvcc', '/usr/local/cuda/bin/nvcc']) {
    const { stdout, status } = spawnSync(nvcc, ['--version'], { encoding: 'utf8' });
    if (status === 0) return `nvcc ${/release [\d.]+, V([\d.]+)/.exec(stdout)?.[1]}`;
  }
  return undefined;
}

/** The commands of a build for GPUs: of a source its command, folder and object file. */
function commands() {
  ensureInstalled();
  run(
    'cmake',
    [
      ...['-S', root, '-B', folder, '-DCMAKE_BUILD_TYPE=Release', '-DFLASH_ATTENTION_WERROR=ON'],
      ...['-DCMAKE_EXPORT_COMPILE_COMMANDS=ON', '--log-level=WARNING'],
    ],
    { env: { ...process.env, FLASH_ATTENTION_CUDA: 'on' } },
  );
  const all = JSON.parse(readFileSync(path.join(folder, 'compile_commands.json'), 'utf8'));
  return new Map(all.map((one) => [path.relative(root, one.file), one]));
}

/** nvcc of CUDA 12.8 is the first that knows the GPUs which run PTX. */
const knowsLaterGpus = () => {
  const [major, minor] = /\d+\.\d+/
    .exec(compilerVersion() ?? '0.0')[0]
    .split('.')
    .map(Number);
  return major > 12 || (major === 12 && minor >= 8);
};

const aboutKernels = /^ptxas info|^\s+\d+ bytes stack frame/;

/**
 * One unit, whose PTX becomes machine code of `later` GPUs: what ptxas said and the object file;
 * what else was said is printed.
 */
function compileOne({ command, directory }, later) {
  const object = path.resolve(directory, / -o (\S+\.o)\b/.exec(command)[1]);
  mkdirSync(path.dirname(object), { recursive: true });
  return new Promise((resolve) => {
    // Not compressed: schedule.mjs reads the machine code.
    const plain = command
      .replace('-compress-mode=size', '')
      .replace(/\bcompute_\d+\]/, later.length > 0 ? `${later.join(',')}]` : '$&');
    const child = spawn(`${plain} -Xptxas=-v`, { cwd: directory, shell: true });
    let text = '';
    child.stdout.on('data', (data) => (text += data));
    child.stderr.on('data', (data) => (text += data));
    child.on('close', (status) => {
      const lines = text.split('\n');
      const others = lines.filter((line) => line && !aboutKernels.test(line));
      if (others.length > 0) console.error(others.join('\n'));
      const log = lines.filter((line) => aboutKernels.test(line)).join('\n');
      resolve({ log, object, ok: status === 0 });
    });
  });
}

/**
 * Compiles the units of sources, as many at a time as there are cores; what became of those of each
 * source.
 */
export async function compile(sources) {
  const known = commands();
  const units = new Map(sources.map((source) => [source, unitsOf(source, [...known.keys()])]));
  const results = new Map(sources.map((source) => [source, []]));
  const waiting = sources.flatMap((source) => units.get(source).map((unit) => ({ source, unit })));
  const later = knowsLaterGpus() ? laterGpus : [];
  const worker = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const started = Date.now();
      const result = await compileOne(known.get(next.unit), later);
      results.get(next.source).push(result);
      const seconds = ((Date.now() - started) / 1000).toFixed(0);
      console.log(`${result.ok ? 'compiled' : 'FAILED  '} ${next.unit} (${seconds} s)`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return new Map(
    [...results].map(([source, all]) => [
      source,
      {
        log: all.map(({ log }) => log).join('\n'),
        objects: all.map(({ object }) => object),
        ok: all.length > 0 && all.every(({ ok }) => ok),
      },
    ]),
  );
}
