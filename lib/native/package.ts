import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** What this package reads of its package.json. */
export interface PackageJson {
  readonly name: string;
  readonly version: string;
  readonly engines: { readonly node: string };
}

/** The folder of this package: above lib/native/ and above the flat dist/ alike. */
export const packageRoot = findRoot();

export const packageJson: PackageJson = JSON.parse(
  readFileSync(path.join(packageRoot, 'package.json'), 'utf8'),
);

/** The version of this package. */
export const version: string = packageJson.version;

function findRoot(): string {
  let folder = path.dirname(fileURLToPath(import.meta.url));
  while (!existsSync(path.join(folder, 'binding.cjs'))) {
    const parent = path.dirname(folder);
    if (parent === folder) throw new Error('flash-attention: the package folder is incomplete');
    folder = parent;
  }
  return folder;
}
