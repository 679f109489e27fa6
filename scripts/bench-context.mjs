// `npm run bench:context`: installs and builds what is missing, then runs it.
import path from 'node:path';
import { ensureServeBuilt, root, run } from './ensure-built.mjs';

ensureServeBuilt();
const serve = path.join(root, 'serve');
const bench = (name) => path.join(serve, 'bench/context', name);
const output = path.join(serve, 'build-bench-context');
const { build } = await import('tsup');
await build({
  config: false,
  entry: { main: bench('main.ts'), worker: bench('worker.ts') },
  outDir: output,
  format: ['esm'],
  target: 'node20',
  silent: true,
  external: ['commander', 'flash-attention', /^@/],
});
run(process.execPath, [path.join(output, 'main.js'), ...process.argv.slice(2)]);
