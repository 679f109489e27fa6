// `npm run bench:serve`: installs and builds what is missing, then runs serve/bench. Everything it
// makes lies in serve/build-bench/.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ensureServeBuilt, npm, root, run } from './ensure-built.mjs';
import { developmentPackages } from './package-constants.mjs';

const serve = path.join(root, 'serve');
const output = path.join(serve, 'build-bench');

/** A folder each. Without the optional ones, node-llama-cpp is CPU only and spares 1 GB. */
const peers = {
  transformers: ['@huggingface/transformers@4.3.2'],
  'llama-cpp': [
    'node-llama-cpp@3.22.1',
    `@node-llama-cpp/${cpuBinary()}@3.22.1`,
    '--omit=optional',
  ],
};

ensureServeBuilt();
const args = process.argv.slice(2);
if (args.includes('--install-peers')) installPeers();
await buildTypeScript();
run(process.execPath, [path.join(output, 'main.js'), ...args]);

/** Bundles serve/bench with what it takes from serve/src, serve/test and bench. */
async function buildTypeScript() {
  const { build } = await import('tsup');
  await build({
    config: false,
    entry: { main: path.join(serve, 'bench/main.ts'), child: path.join(serve, 'bench/child.ts') },
    outDir: output,
    format: ['esm'],
    target: 'node20',
    silent: true,
    // Beside the bundle, not part of it.
    external: [...developmentPackages, 'commander', 'flash-attention', 'onnxruntime-node'],
  });
}

/** Into folders of their own, so that neither package.json nor `npm ci` has to know. */
function installPeers() {
  // No install script: they would download CUDA libraries and compile.
  const flags = ['--ignore-scripts', '--no-save', '--no-package-lock', '--no-audit', '--no-fund'];
  for (const [name, packages] of Object.entries(peers)) {
    const folder = path.join(output, 'peers', name);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, 'package.json'), '{ "private": true }\n');
    npm('install', '--prefix', folder, ...flags, ...packages);
  }
}

/** The package of node-llama-cpp's binary that computes on the CPU of this machine. */
function cpuBinary() {
  const { platform, arch } = process;
  if (platform === 'darwin') return arch === 'arm64' ? 'mac-arm64-metal' : 'mac-x64';
  return `${platform === 'win32' ? 'win' : platform}-${arch}`;
}
