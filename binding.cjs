'use strict';
// Loads the native addon: the file FLASH_ATTENTION_ADDON names, else a local build, else a prebuilt
// binary. A missing binary and one the system refuses (libc too old) fail alike, with the remedies.
const { resolve } = require('node:path');
const { name } = require('./package.json');

const chosen = process.env.FLASH_ATTENTION_ADDON;

/** Whatever the file is called: `require` would take another name than `.node` for a script's. */
function load(file) {
  if (/\.(node|[cm]?js)$/.test(file)) return require(file);
  const loaded = { exports: {} };
  process.dlopen(loaded, file);
  return loaded.exports;
}

try {
  const addon = chosen ? load(resolve(chosen)) : require('node-gyp-build')(__dirname);
  if (typeof addon?.attention !== 'function') throw new Error(`it is no addon of ${name}`);
  module.exports = addon;
} catch (cause) {
  const what = chosen
    ? `the file FLASH_ATTENTION_ADDON names cannot be loaded: ${resolve(chosen)}`
    : `no usable native binary for ${process.platform}-${process.arch} (Node ${process.versions.node})`;
  const remedy = chosen
    ? 'Correct the variable or unset it.'
    : `Run "npx ${name} doctor" for details or "npx ${name} build" to compile it here.`;
  const reason = String(cause?.message ?? cause).split('\n')[0];
  const error = new Error(`${name}: ${what}.\n${remedy}\nReason: ${reason}`, { cause });
  error.code = 'ERR_NATIVE_BINARY';
  throw error;
}
