// Programs that no plain clone needs: from Debian's packages, and from npm's where those are
// programs packed up. The latter are downloaded once, into a folder of this user.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

const cache = path.join(
  process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'),
  'flash-attention',
);

/** A folder that is kept between runs. */
export function cacheFolder(name) {
  const folder = path.join(cache, name);
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Where a package of npm is unpacked: "name@version". Nothing of it is run. */
export function unpacked(spec) {
  const folder = path.join(cache, spec);
  if (existsSync(folder)) return path.join(folder, 'package');
  mkdirSync(path.dirname(folder), { recursive: true });
  // Renamed when it is whole: the next run would take what is there for all of it.
  const work = mkdtempSync(`${folder}.`);
  execFileSync('npm', ['pack', spec, '--silent', '--pack-destination', work]);
  const [tarball] = readdirSync(work);
  execFileSync('tar', ['-xzf', tarball], { cwd: work });
  renameSync(work, folder);
  return path.join(folder, 'package');
}

const isMissing = (tool) => spawnSync(tool, ['--version']).error !== undefined;

/**
 * The Debian packages that are missing of `packages`, a package for each command. With --install
 * they are installed first, where that is allowed.
 */
export function missingPackages(packages) {
  const missing = () => Object.keys(packages).filter(isMissing);
  const wanted = () => missing().map((tool) => packages[tool]);
  if (process.argv.includes('--install') && missing().length > 0) {
    const apt = (...args) => spawnSync('apt-get', args, { stdio: 'inherit' }).status === 0;
    if (apt('update')) apt('install', '--yes', '--no-install-recommends', ...wanted());
  }
  return wanted();
}

export const installHint = (packages) =>
  `Debian, Ubuntu:  sudo apt-get install ${packages.join(' ')}`;
