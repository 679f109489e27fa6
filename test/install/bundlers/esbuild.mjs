import { build } from 'esbuild';

const [entry, outfile, line] = process.argv.slice(2);
await build({
  entryPoints: [entry],
  outfile,
  bundle: true,
  platform: 'node',
  format: outfile.endsWith('.mjs') ? 'esm' : 'cjs',
  ...(line ? { external: ['flash-attention'] } : {}),
});
