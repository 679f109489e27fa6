// Builds and runs the programs of test/simt: the SIMT executor, the instructions it plays, and the
// CUDA backend on it.
import path from 'node:path';
import { ensureInstalled, root, run } from './ensure-built.mjs';

const programs = [
  'primitives',
  'primitives_sm90',
  'misuse',
  'misuse_sm90',
  'counters',
  'overlap',
  'branches',
  'runtime',
  'graph',
  'stream',
  'io',
];
ensureInstalled();

const out = path.join(root, 'build-simt/programs');
run(process.execPath, [
  ...['scripts/cmake-build.cjs', 'Release', '--out', out, '-DFLASH_ATTENTION_SIMT_TESTS=ON'],
]);
for (const program of programs) run(path.join(out, 'simt-tests', `simt_${program}`), []);
console.log(`simt: ${programs.length} programs passed`);
