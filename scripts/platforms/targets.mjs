// The platforms whose binaries are made on another one. glibc's come from g++, as that of
// `npm run prebuild` does; all others from zig, which has the headers and libraries of each.
import path from 'node:path';
import { root } from '../ensure-built.mjs';

const gcc = 'aarch64-linux-gnu-g++';

export const targets = {
  'linux-arm64': { folder: 'linux-arm64', libc: 'glibc', gcc },
  'linux-arm64-musl': { folder: 'linux-arm64', libc: 'musl', zig: 'aarch64-linux-musl' },
  'linux-x64-musl': { folder: 'linux-x64', libc: 'musl', zig: 'x86_64-linux-musl' },
  'win32-x64': { folder: 'win32-x64', zig: 'x86_64-windows-gnu' },
  'darwin-arm64': { folder: 'darwin-arm64', zig: 'aarch64-macos.11.0' },
  'darwin-x64': { folder: 'darwin-x64', zig: 'x86_64-macos.11.0' },
};

/** Where node-gyp-build looks for the binary of a platform. */
export function prebuiltFile({ folder, libc }) {
  const file = ['flash-attention', libc, 'node'].filter(Boolean).join('.');
  return path.join(root, 'prebuilds', folder, file);
}

/** The targets that a command line names, without its options; all of them when it names none. */
export function chosenTargets(args) {
  const names = args.filter((arg) => !arg.startsWith('-'));
  const unknown = names.filter((name) => !(name in targets));
  if (unknown.length === 0) return names.length > 0 ? names : Object.keys(targets);
  const known = Object.keys(targets).join(', ');
  console.error(`Unknown target ${unknown.join(', ')}. Known: ${known}`);
  process.exit(1);
}
