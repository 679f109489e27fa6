// `npm run bench:event-loop`: installs and builds what is missing, then runs it.
import path from 'node:path';
import { ensureServeBuilt, root, run } from './ensure-built.mjs';

ensureServeBuilt();
const serve = path.join(root, 'serve');
const bench = (name) => path.join(serve, 'bench/event-loop', name);
const output = path.join(serve, 'build-bench-event-loop');
const { build } = await import('tsup');
await build({
  config: false,
  entry: { main: bench('main.ts'), probe: bench('probe.ts') },
  outDir: output,
  format: ['esm'],
  target: 'node20',
  silent: true,
  external: ['commander', 'protobufjs', /^@/],
});
run(process.execPath, [path.join(output, 'main.js'), ...process.argv.slice(2)]);
