// What lib/ knows of package.json, which it does not read: a bundle has none beside it. Every build
// of lib/ puts these in.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './ensure-built.mjs';

const { version, engines, devDependencies } = JSON.parse(
  readFileSync(path.join(root, 'package.json'), 'utf8'),
);

/** Used where the clone is at hand, so that a bundle need not hold them. */
export const developmentPackages = Object.keys(devDependencies);

export const constants = {
  PACKAGE_VERSION: version,
  NODE_FLOOR: engines.node.replace('>=', ''),
};

/** The same for esbuild: name to source text. */
export const define = Object.fromEntries(
  Object.entries(constants).map(([name, value]) => [name, JSON.stringify(value)]),
);
