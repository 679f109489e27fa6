// `npm run bench:serve`: installs and builds what is missing, then runs serve/bench.
import path from 'node:path';
import { ensureServeBuilt, root, run } from './ensure-built.mjs';

ensureServeBuilt();
const serve = path.join(root, 'serve');
const { build } = await import('tsup');
await build({
  config: false,
  entry: { main: path.join(serve, 'bench/main.ts'), child: path.join(serve, 'bench/child.ts') },
  outDir: path.join(serve, 'build-bench'),
  format: ['esm'],
  target: 'node20',
  silent: true,
  external: ['commander', 'onnxruntime-node', 'protobufjs'],
});
run(process.execPath, [path.join(serve, 'build-bench/main.js'), ...process.argv.slice(2)]);
