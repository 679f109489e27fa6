'use strict';
// Finds and loads the native addon. Importing this does nothing and cannot fail; the words for what
// goes wrong are those of lib/native/binary-error.ts.
//
// In the package node-gyp-build decides: a local build, else the prebuilt binary of this system. A
// bundle has no folder for it to look in, and there may be binaries of other packages beside it; so
// there the one file with our name is asked for, beside the bundle or (embedded.cjs) inside it.

// Not `require`: bundles in ESM have none.
const builtin = (name) => process.getBuiltinModule(`node:${name}`);

/** The folder of the package; undefined in a bundle, beside which there is no such file. */
function packageFolder() {
  if (typeof __dirname === 'undefined') return undefined;
  const file = builtin('path').join(__dirname, 'binding.cjs');
  return builtin('fs').existsSync(file) ? __dirname : undefined;
}

/** The folder of the bundle that this has become part of. */
function bundleFolder(moduleUrl) {
  if (typeof __dirname !== 'undefined') return __dirname;
  // In a bundle in ESM. Code that was CommonJS has no URL there: the bundle may be the main script.
  const { dirname, resolve } = builtin('path');
  return dirname(moduleUrl ? builtin('url').fileURLToPath(moduleUrl) : resolve(process.argv[1]));
}

/** The C library of a Linux system, else undefined. */
function libc() {
  if (process.platform !== 'linux') return undefined;
  const loader = `/lib/ld-musl-${process.arch === 'x64' ? 'x86_64' : 'aarch64'}.so.1`;
  const { existsSync, readFileSync } = builtin('fs');
  try {
    if (!existsSync(loader)) return 'glibc';
    // A system may have both libraries; this process has one.
    return readFileSync('/proc/self/maps', 'latin1').includes('/ld-musl-') ? 'musl' : 'glibc';
  } catch {
    return 'glibc'; // a permission model forbids to look
  }
}

/** As prebuildify names the binary of this system. */
function prebuiltName() {
  const name = ['flash-attention', libc(), 'node'].filter(Boolean).join('.');
  return builtin('path').join('prebuilds', `${process.platform}-${process.arch}`, name);
}

function findInPackage(folder) {
  const { join, relative, sep } = builtin('path');
  let file;
  try {
    file = require('node-gyp-build').path(folder);
  } catch {
    return undefined; // there is none, or a permission model forbids to look
  }
  if (process.env.FLASH_ATTENTION_PREBUILD) return { path: file, kind: 'FLASH_ATTENTION_PREBUILD' };
  if (relative(folder, file).startsWith(`build${sep}`)) return { path: file, kind: 'local build' };
  // node-gyp-build takes every musl system but Alpine for one with glibc.
  const isMisjudged = libc() === 'musl' && !process.env.LIBC;
  return { path: isMisjudged ? join(folder, prebuiltName()) : file, kind: 'prebuilt' };
}

/** The file that `load` loads, and why that one; undefined where there is none. Loads nothing. */
function find(moduleUrl) {
  const { FLASH_ATTENTION_ADDON: chosen } = process.env;
  if (chosen) return { path: builtin('path').resolve(chosen), kind: 'FLASH_ATTENTION_ADDON' };
  const folder = packageFolder();
  if (folder) return findInPackage(folder);
  const beside = builtin('path').join(bundleFolder(moduleUrl), prebuiltName());
  return builtin('fs').existsSync(beside) ? { path: beside, kind: 'prebuilt' } : undefined;
}

/** The loader of Linux maps a file that was cut short, and the process dies of what is missing. */
function assertWhole(file) {
  const { closeSync, fstatSync, openSync, readSync } = builtin('fs');
  const descriptor = openSync(file);
  try {
    const header = Buffer.alloc(64);
    readSync(descriptor, header);
    if (header.toString('latin1', 0, 5) !== '\x7fELF\x02') return; // the loader says so
    // The table of sections ends a file in ELF: where it begins, the size of an entry, how many.
    const size =
      Number(header.readBigUInt64LE(40)) + header.readUInt16LE(58) * header.readUInt16LE(60);
    const found = fstatSync(descriptor).size;
    if (found < size) throw new Error(`file too short: ${found} of ${size} bytes`);
  } finally {
    closeSync(descriptor);
  }
}

/** Whatever the file is called: `require` would take another name than `.node` for a script's. */
function open(file) {
  if (process.platform === 'linux') assertWhole(file);
  if (/\.(node|[cm]?js)$/.test(file)) return builtin('module').createRequire(file)(file);
  const loaded = { exports: {} };
  process.dlopen(loaded, file);
  return loaded.exports;
}

/** The addon. Throws what the system says where it cannot be loaded. */
function load(moduleUrl) {
  const file = find(moduleUrl);
  const addon = file ? open(file.path) : require('#embedded').embedded(libc());
  if (addon === undefined) throw new Error('no file is there for this system');
  if (typeof addon?.attention !== 'function') throw new Error('it is no addon of flash-attention');
  return addon;
}

module.exports = { packageFolder, bundleFolder, find, load };
