// `npm run test:serve`: installs and builds what is missing, then runs the server's tests.
// Arguments go to jest.
import path from 'node:path';
import { ensureServeBuilt, root, run } from './ensure-built.mjs';

ensureServeBuilt();
const jest = ['--disable-warning=ExperimentalWarning', '--experimental-vm-modules'];
run(process.execPath, [...jest, '../node_modules/jest/bin/jest.js', ...process.argv.slice(2)], {
  cwd: path.join(root, 'serve'),
});
