// What lets one source of the CUDA kernels serve nvcc and the SIMT executor: kernels reach the
// machine through csrc/cuda/ptx alone (docs/testing/executor.md). What runs on the host may not.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const folder = path.resolve('csrc/cuda');
const parts = ['device', 'elementwise', 'sm80', 'sm90'];
const files = parts.flatMap((part) =>
  readdirSync(path.join(folder, part), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(h|cu)$/.test(name) && !name.startsWith('host'))
    .map((name) => path.join(part, name)),
);

const forbidden: [string, RegExp][] = [
  ['assembly', /\basm\b/],
  ['conditional compilation', /^\s*#\s*(if|ifdef|ifndef|elif)\b/m],
  ['shared pointers', /\b__shared__\b|__cvta_/],
  ['intrinsics of CUDA', /\b__(syncthreads|syncwarp|shfl|ballot|any|all|ldg|expf|nanosleep)\w*\(/],
  ['kernel launches of CUDA', /<<</],
];

test.each(files)('csrc/cuda/%s uses csrc/cuda/ptx alone', (file) => {
  const text = readFileSync(path.join(folder, file), 'utf8').replace(/\/\/.*$/gm, '');
  const found = forbidden.filter(([, form]) => form.test(text)).map(([what]) => what);
  expect(found).toEqual([]);
});
