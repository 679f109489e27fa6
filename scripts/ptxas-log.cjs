'use strict';
// A compiler launcher (see cmake/cuda.cmake): runs nvcc and keeps what ptxas says about each kernel
// beside the object file, for scripts/ptxas-report.mjs. Everything else nvcc says is passed on.
const { spawnSync } = require('node:child_process');
const { writeFileSync } = require('node:fs');

const [compiler, ...args] = process.argv.slice(2);
const { status, stdout, stderr } = spawnSync(compiler, args, {
  encoding: 'utf8',
  maxBuffer: 2 ** 28,
  stdio: ['inherit', 'pipe', 'pipe'],
});
const about = /^ptxas info|^\s+\d+ bytes stack frame/;
const lines = (stderr ?? '').split('\n');
process.stdout.write(stdout ?? '');
process.stderr.write(lines.filter((line) => line && !about.test(line)).join('\n'));
const object = args[args.indexOf('-o') + 1];
if (status === 0 && object?.endsWith('.o')) {
  writeFileSync(`${object}.ptxas`, lines.filter((line) => about.test(line)).join('\n'));
}
process.exitCode = status ?? 1;
