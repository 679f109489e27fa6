// `npm run test:viz`: plays the visualiser in a browser. With --install a missing one is installed
// first, where that is allowed. Other arguments go to jest.
import { browserHint, findBrowser, launchOptions } from './browser.mjs';
import { ensureBuilt, run, skipped } from './ensure-built.mjs';

const browser = findBrowser();
if (browser === undefined) {
  console.error(`test:viz: Chromium not found.\n  ${browserHint}`);
  process.exit(skipped);
}

ensureBuilt();
const jest = [
  '--disable-warning=ExperimentalWarning',
  '--experimental-vm-modules',
  'node_modules/jest/bin/jest.js',
  '--config=jest.viz.config.mjs',
];
const rest = process.argv.slice(2).filter((argument) => argument !== '--install');
run(process.execPath, [...jest, ...rest], {
  env: { ...process.env, FLASH_ATTENTION_BROWSER: launchOptions(browser).executablePath },
});
