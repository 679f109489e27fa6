// The browser that the visualiser is tested in, and photographed with.
import { spawnSync } from 'node:child_process';
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

export const browserHint = installHint(Object.values(packages));

/** Options of playwright's launch(). Chromium has no sandbox for root. */
export function launchOptions(command) {
  const { stdout } = spawnSync('sh', ['-c', `command -v ${command}`], { encoding: 'utf8' });
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return { executablePath: stdout.trim(), args };
}
