// Packs serve/ as others get it: in the repository it depends on the package above it by a path,
// packed on exactly the version that it was built and tested with.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root } from '../ensure-built.mjs';

const json = (file) => JSON.parse(readFileSync(path.join(root, file), 'utf8'));

/** The package.json of the tarball. */
function servePackage() {
  const { name, version, repository, bugs, author, keywords } = json('package.json');
  const { private: _, scripts, devDependencies, ...serve } = json('serve/package.json');
  return {
    ...serve,
    ...{ author, repository: { ...repository, directory: 'serve' }, bugs, keywords },
    dependencies: { ...serve.dependencies, [name]: version },
  };
}

/**
 * Packs what `npm run build` has left in serve/dist, and what else serve/package.json names.
 *
 * @param pack runs `npm pack` in a folder.
 */
export function packServe(pack) {
  const folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-serve-'));
  try {
    const about = servePackage();
    for (const file of about.files) {
      cpSync(path.join(root, 'serve', file), path.join(folder, file), { recursive: true });
    }
    cpSync(path.join(root, 'LICENSE'), path.join(folder, 'LICENSE'));
    writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(about, null, 2)}\n`);
    return pack(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
