// Benchmarks of the server that are programs of their own: serve/bench/<name>.
import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { ensureServeBuilt, root, run } from './ensure-built.mjs';

/**
 * Installs and builds what is missing, bundles the entries of a benchmark to
 * serve/build-bench-<name>, and runs `main` with this process's arguments.
 */
export async function runServeBench(name, entries) {
  ensureServeBuilt();
  const serve = path.join(root, 'serve');
  const output = path.join(serve, `build-bench-${name}`);
  const { build } = await import('tsup');
  const files = entries.map((entry) => [entry, path.join(serve, `bench/${name}`, `${entry}.ts`)]);
  await build({
    config: false,
    entry: Object.fromEntries(files),
    outDir: output,
    format: ['esm'],
    target: 'node20',
    silent: true,
    // Beside the bundle, not part of it.
    external: ['commander', 'protobufjs', 'zod', 'flash-attention', /^@/],
  });
  // What starts nats-server runs it.
  const keeper = 'nats-keeper.mjs';
  copyFileSync(path.join(serve, 'src/cluster', keeper), path.join(output, keeper));
  run(process.execPath, [path.join(output, 'main.js'), ...process.argv.slice(2)]);
}
