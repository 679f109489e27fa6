// `npm run test:serve`: installs and builds what is missing, then runs the server's tests, or with
// `--types` looks at its types. With `--install` it first installs nats-server, where it may. Other
// arguments go to jest. `--device simt:sm80` (or another, as for test-device.mjs) runs what the
// server has for GPUs alone there.
import path from 'node:path';
import { ensureServeBuilt, npm, root, run } from './ensure-built.mjs';
import { installHint, missingPackages } from './platforms/tools.mjs';

ensureServeBuilt();
if (process.argv[2] === '--types') {
  run(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', 'serve']);
  process.exit();
}
const missing = missingPackages({ 'nats-server': 'nats-server' });
if (missing.length > 0) {
  console.error(`test:serve: tests of clusters are skipped.\n  ${installHint(missing)}`);
}
const given = process.argv.slice(2).filter((argument) => argument !== '--install');
const env = { ...process.env };
if (given[0] === '--device') {
  const [, device] = given.splice(0, 2, '--testPathPatterns=/forward/decode-graphs');
  env.FLASH_ATTENTION_DEVICE = device;
  if (device.startsWith('simt:')) {
    npm('run', '--silent', 'build:simt');
    env.FLASH_ATTENTION_SIMT_DEVICES = device.slice('simt:'.length);
    env.FLASH_ATTENTION_ADDON = path.join(root, 'build-simt/flash_attention_simt.node');
  }
}
const jest = ['--disable-warning=ExperimentalWarning', '--experimental-vm-modules'];
run(process.execPath, [...jest, '../node_modules/jest/bin/jest.js', ...given], {
  cwd: path.join(root, 'serve'),
  env,
});
