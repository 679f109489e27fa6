// `npm run bench:cluster -- <what>`: installs and builds what is missing, then measures clusters of
// processes of this machine. --help says what there is.
import path from 'node:path';
import { ensureServeBuilt, root, run } from './ensure-built.mjs';

ensureServeBuilt();
const serve = path.join(root, 'serve');
const output = path.join(serve, 'build-bench-cluster');
const { build } = await import('tsup');
await build({
  config: false,
  entry: { main: path.join(serve, 'bench/cluster/main.ts') },
  outDir: output,
  format: ['esm'],
  target: 'node20',
  silent: true,
  external: ['commander', 'protobufjs', 'zod', 'flash-attention', /^@/],
});
run(process.execPath, [path.join(output, 'main.js'), ...process.argv.slice(2)]);
