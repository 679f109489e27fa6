// `npm run build:proto`: makes src/onnx/proto.js and its types from onnx.proto.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';

const [proto, code, types] = ['onnx.proto', 'proto.js', 'proto.d.ts'].map((n) => `src/onnx/${n}`);

function write(file, ...command) {
  const from = ['exec', '--yes', '--package=protobufjs-cli@2.7.1', '--'];
  const { stdout, status } = spawnSync('npm', [...from, ...command], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) process.exit(status ?? 1);
  writeFileSync(file, stdout);
}

const unused = ['create', 'verify', 'convert', 'delimited', 'service', 'typeurl'];
const flags = ['-t', 'static-module', '-w', 'es6', ...unused.map((name) => `--no-${name}`)];
write(code, 'pbjs', ...flags, proto);
write(types, 'pbts', code); // from the comments of the code, which nobody needs after that
write(code, 'pbjs', ...flags, '--no-comments', proto);
