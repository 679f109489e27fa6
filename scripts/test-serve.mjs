// `npm run test:serve`: installs and builds what is missing, then runs the server's tests, or with
// `--types` looks at its types. With `--install` it first installs nats-server, where it may. Other
// arguments go to jest.
import path from 'node:path';
import { ensureServeBuilt, root, run } from './ensure-built.mjs';
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
const jest = ['--disable-warning=ExperimentalWarning', '--experimental-vm-modules'];
run(process.execPath, [...jest, '../node_modules/jest/bin/jest.js', ...given], {
  cwd: path.join(root, 'serve'),
});
