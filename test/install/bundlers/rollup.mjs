import commonjs from '@rollup/plugin-commonjs';
import { nodeResolve } from '@rollup/plugin-node-resolve';
import { rollup } from 'rollup';

const [input, file, line] = process.argv.slice(2);
const bundle = await rollup({
  input,
  plugins: [nodeResolve(), commonjs()],
  ...(line ? { external: ['flash-attention'] } : {}),
});
await bundle.write({ file, format: file.endsWith('.mjs') ? 'es' : 'cjs' });
