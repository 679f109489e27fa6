// The binaries that a release has in it.
import { statSync } from 'node:fs';
import { prebuiltFile, targets } from '../platforms/targets.mjs';

/** The one that `npm run prebuild` makes, and those that are made on another platform. */
const platforms = [{ folder: 'linux-x64', libc: 'glibc' }, ...Object.values(targets)];

/** Each as { name, file, bytes }, the last two undefined where it has not been built. */
export function findPrebuilds() {
  return platforms.map((platform) => {
    const name = [platform.folder, platform.libc].filter(Boolean).join(' ');
    const file = prebuiltFile(platform);
    const found = statSync(file, { throwIfNoEntry: false });
    return { name, file: found && file, bytes: found?.size };
  });
}

/** The one that this machine loads. */
export function ownPrebuild() {
  const { glibcVersionRuntime } = process.report.getReport().header;
  const libc = process.platform === 'linux' && (glibcVersionRuntime ? 'glibc' : 'musl');
  const name = [`${process.platform}-${process.arch}`, libc].filter(Boolean).join(' ');
  return findPrebuilds().find((each) => each.name === name);
}
