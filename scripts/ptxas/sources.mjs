// What nvcc compiles, source by source, and what each is made from.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { globFiles, root } from '../ensure-built.mjs';
import { closureOf, fingerprint } from '../fingerprint.mjs';

/** Instructions as functions, each of which ptxas must understand; no kernels of ours. */
const wrappers = ['test/simt/every_wrapper.cu', 'test/simt/every_wrapper_sm90.cu'];
export const sources = [...globFiles('csrc/cuda', /\.cu$/), ...wrappers];

/** The options of nvcc, without the comments around them. */
const flags = readFileSync(path.join(root, 'cmake/cuda.cmake'), 'utf8')
  .replace(/#.*$/gm, '')
  .replace(/\s+/g, ' ');

/** The hash of a source, of what it includes and of nvcc's options. */
export const hashOf = (source) =>
  fingerprint(closureOf([source], { leaveOut: (file) => file.startsWith('csrc/simt/') }), flags);
