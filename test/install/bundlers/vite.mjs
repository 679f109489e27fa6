import path from 'node:path';
import { build } from 'vite';

const [entry, outfile, line] = process.argv.slice(2);
await build({
  root: path.dirname(entry),
  configFile: false,
  logLevel: 'warn',
  build: {
    ssr: entry,
    outDir: path.dirname(outfile),
    rollupOptions: {
      output: {
        entryFileNames: path.basename(outfile),
        format: outfile.endsWith('.mjs') ? 'es' : 'cjs',
      },
    },
  },
  // As a configuration does that bundles all of node_modules.
  ssr: { noExternal: true, ...(line ? { external: ['flash-attention'] } : {}) },
});
