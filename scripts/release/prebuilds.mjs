// The binaries that a release has in it.
import { statSync } from 'node:fs';
import path from 'node:path';
import { globFiles, root } from '../ensure-built.mjs';

/** Folders of prebuilds/, with the C library on Linux. */
const platforms = [
  ['linux-x64', 'glibc'],
  ['linux-x64', 'musl'],
  ['linux-arm64', 'glibc'],
  ['linux-arm64', 'musl'],
  ['win32-x64'],
  ['darwin-arm64'],
  ['darwin-x64'],
];

const isMusl = (file) => file.endsWith('.musl.node');

/** Each as { name, file, bytes }, the last two undefined where it has not been built. */
export function findPrebuilds() {
  return platforms.map(([folder, libc]) => {
    const files = globFiles(path.join('prebuilds', folder), /\.node$/);
    const file = files.find((each) => libc === undefined || isMusl(each) === (libc === 'musl'));
    const name = [folder, libc].filter(Boolean).join(' ');
    return { name, file, bytes: file && statSync(path.join(root, file)).size };
  });
}

/** The one that this machine loads. */
export function ownPrebuild() {
  const { glibcVersionRuntime } = process.report.getReport().header;
  const libc = process.platform === 'linux' && (glibcVersionRuntime ? 'glibc' : 'musl');
  const name = [`${process.platform}-${process.arch}`, libc].filter(Boolean).join(' ');
  return findPrebuilds().find((each) => each.name === name);
}
