// `npm test`: installs and builds what is missing, then runs the unit tests. Arguments go to jest.
import { ensureBuilt, run } from './ensure-built.mjs';

ensureBuilt();
const jest = [
  '--disable-warning=ExperimentalWarning',
  '--experimental-vm-modules',
  'node_modules/jest/bin/jest.js',
];
run(process.execPath, [...jest, ...process.argv.slice(2)]);
