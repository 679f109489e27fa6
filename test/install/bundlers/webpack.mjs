import path from 'node:path';
import webpack from 'webpack';

const [entry, outfile, line] = process.argv.slice(2);
const output = { path: path.dirname(outfile), filename: path.basename(outfile) };
const isModule = outfile.endsWith('.mjs');
const config = {
  entry,
  mode: 'production',
  target: 'node',
  output: { ...output, ...(isModule ? { module: true, chunkFormat: 'module' } : {}) },
  experiments: { outputModule: isModule },
  ...(line ? { externals: { 'flash-attention': 'commonjs flash-attention' } } : {}),
};
webpack(config, (error, stats) => {
  const all = stats?.toJson({ all: false, errors: true, warnings: true });
  for (const { message } of [...(all?.errors ?? []), ...(all?.warnings ?? [])]) {
    console.error(message);
    process.exitCode = 1;
  }
  if (error) throw error;
});
