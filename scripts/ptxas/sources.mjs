// The sources of machine code, and what each is made from.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { globFiles, root } from '../ensure-built.mjs';
import { closureOf, fingerprint } from '../fingerprint.mjs';

/** Instructions as functions, each of which ptxas must understand; no kernels of ours. */
const wrappers = ['test/simt/every_wrapper.cu', 'test/simt/every_wrapper_sm90.cu'];

/** The list of kernels that a source is compiled for (cmake/kernels.cmake), if it has one. */
const tableOf = (source) => source.replace(/\.cu$/, '_kernels.def');
const hasTable = (source) => existsSync(path.join(root, tableOf(source)));

const launches = /^csrc\/cuda\/(runtime\/|sm\d+\/host\/|sm\d+\/\w+_kernels\.cu$)/;
export const sources = [
  ...globFiles('csrc/cuda', /\.cu$/).filter((source) => !launches.test(source)),
  ...wrappers,
];

/** The options of nvcc, without the comments around them. */
const flags = ['cuda', 'kernels']
  .map((name) => readFileSync(path.join(root, `cmake/${name}.cmake`), 'utf8'))
  .join('\n')
  .replace(/#.*$/gm, '')
  .replace(/\s+/g, ' ');

/** The hash of a source, of what it includes, its list of kernels and nvcc's options. */
export function hashOf(source) {
  const all = hasTable(source) ? [source, tableOf(source)] : [source];
  return fingerprint(closureOf(all, { leaveOut: (file) => file.startsWith('csrc/simt/') }), flags);
}

/**
 * Which of the compiled files are code of a source: itself, or its units in the folder of a build,
 * those of PTX too.
 */
export function unitsOf(source, files) {
  if (!hasTable(source)) return files.filter((file) => file === source);
  const family = source.replace(/^csrc\/cuda\/|\.cu$/g, '');
  return files.filter((file) => file.includes(`/kernels/${family}/`));
}
