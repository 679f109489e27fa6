// `npm run test:serve`: installs and builds what is missing, then runs the server's tests, or with
// `--types` looks at its types. Other arguments go to jest.
import path from 'node:path';
import { ensureServeBuilt, root, run } from './ensure-built.mjs';

ensureServeBuilt();
if (process.argv[2] === '--types') {
  run(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', 'serve']);
  process.exit();
}
const jest = ['--disable-warning=ExperimentalWarning', '--experimental-vm-modules'];
run(process.execPath, [...jest, '../node_modules/jest/bin/jest.js', ...process.argv.slice(2)], {
  cwd: path.join(root, 'serve'),
});
