// `npm run demo`: installs and builds what is missing, then runs serve/demo.
import path from 'node:path';
import { ensureServeBuilt, root, run } from './ensure-built.mjs';

ensureServeBuilt();
const serve = path.join(root, 'serve');
const { build } = await import('tsup');
await build({
  config: false,
  entry: { main: path.join(serve, 'demo/main.ts') },
  outDir: path.join(serve, 'build-demo'),
  format: ['esm'],
  target: 'node20',
  silent: true,
  clean: false, // a model that was trained stays
  // Found from there as they are.
  external: ['cli-progress', 'commander', 'flash-attention', 'openai', 'protobufjs', /^@/],
});
run(process.execPath, [path.join(serve, 'build-demo/main.js'), ...process.argv.slice(2)]);
