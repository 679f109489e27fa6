// `npm run test:viz`: plays the visualiser in a browser. With --install a missing one is installed
// first, where that is allowed. Other arguments go to jest.
import { testInBrowser } from './browser.mjs';
import { ensureBuilt } from './ensure-built.mjs';

ensureBuilt();
testInBrowser('jest.viz.config.mjs', process.argv.slice(2));
