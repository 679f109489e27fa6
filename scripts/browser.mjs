// The browser that the visualiser and the site are tested in, and photographed with.
import { spawnSync } from 'node:child_process';
import { run, skipped } from './ensure-built.mjs';
import { installHint, missingPackages } from './platforms/tools.mjs';

const names = ['chromium', 'chromium-browser', 'google-chrome'];
const isThere = (name) => spawnSync(name, ['--version']).error === undefined;
const packages = { chromium: 'chromium' };

/**
 * The command of a Chromium, or undefined; with --install one of Debian's is installed first, where
 * that is allowed.
 */
export function findBrowser() {
  const found = names.find(isThere);
  if (found) return found;
  return missingPackages(packages).length === 0 ? 'chromium' : undefined;
}

const browserHint = installHint(Object.values(packages));

/** Milliseconds that a browser has for whatever it is asked: a little less than a test. */
export const patience = 110_000;

/** Options of playwright's launch(). Chromium has no sandbox for root. */
export function launchOptions(command) {
  const { stdout } = spawnSync('sh', ['-c', `command -v ${command}`], { encoding: 'utf8' });
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return { executablePath: stdout.trim(), args, timeout: patience };
}

/**
 * Runs the tests of a configuration of jest in a browser; where there is none, this process ends as
 * a check that could not run. `args` are those of the command line: all but --install go to jest.
 */
export function testInBrowser(config, args) {
  const browser = findBrowser();
  if (browser === undefined) {
    console.error(`Chromium not found.\n  ${browserHint}`);
    process.exit(skipped);
  }
  const jest = [
    '--disable-warning=ExperimentalWarning',
    '--experimental-vm-modules',
    'node_modules/jest/bin/jest.js',
    `--config=${config}`,
  ];
  const rest = args.filter((argument) => argument !== '--install');
  const { executablePath } = launchOptions(browser);
  run(process.execPath, [...jest, ...rest], {
    env: { ...process.env, FLASH_ATTENTION_BROWSER: executablePath },
  });
}
