// `npm run bench`: installs and builds what is missing, then runs the benchmark of bench/.
// Everything it makes lies in build-bench/.
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ensureBuilt, globFiles, npm, root, run } from './ensure-built.mjs';
import { define, developmentPackages } from './package-constants.mjs';

const peers = ['onnxruntime-node@1.30.0'];
const output = path.join(root, 'build-bench');

ensureBuilt();
buildAddon();
await buildTypeScript();
const args = process.argv.slice(2);
if (args.includes('--install-peers')) installPeers();
run(process.execPath, [path.join(output, 'main.js'), ...args]);

/** Compiles bench/native, unless the addon is newer than all it is made of. */
function buildAddon() {
  const sources = [
    'CMakeLists.txt',
    ...globFiles('bench/native', /\.(h|cpp|txt)$/),
    ...globFiles('csrc/cpu/kernels', /\.h$/),
    ...globFiles('csrc/core', /\.h$/),
  ];
  const modified = (name) => statSync(path.join(root, name), { throwIfNoEntry: false })?.mtimeMs;
  const built = modified('build-bench/flash_attention_bench.node') ?? 0;
  if (sources.every((name) => modified(name) < built)) return;
  run(process.execPath, [
    'scripts/cmake-build.cjs',
    ...['--out', 'build-cmake/bench', '-DFLASH_ATTENTION_BENCH=ON'],
  ]);
}

/** Bundles bench/ together with lib/. */
async function buildTypeScript() {
  const { build } = await import('tsup');
  const suites = globFiles('bench/suites', /\.ts$/).map((file) => [
    `suite-${path.basename(file, '.ts')}`,
    file,
  ]);
  // A suite that is gone must not run.
  for (const name of readdirSync(output)) {
    if (name.endsWith('.js')) rmSync(path.join(output, name));
  }
  await build({
    config: false,
    entry: {
      main: 'bench/main.ts',
      'memory-child': 'bench/memory-child.ts',
      ...Object.fromEntries(suites),
    },
    outDir: 'build-bench',
    format: ['esm'],
    target: 'node20',
    splitting: true,
    silent: true,
    // Beside the bundle, not part of it.
    external: [/\.node$/, '#binding', ...developmentPackages, 'commander'],
    define,
  });
}

/** Into a folder of its own, so that neither package.json nor `npm ci` has to know. */
function installPeers() {
  const folder = path.join(output, 'peers');
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'package.json'), '{ "private": true }\n');
  // Without its install script, which downloads CUDA libraries.
  const flags = ['--ignore-scripts', '--no-save', '--no-package-lock', '--no-audit', '--no-fund'];
  npm('install', '--prefix', folder, ...flags, ...peers);
}
