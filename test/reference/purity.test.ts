import { readFileSync } from 'node:fs';

const root = new URL('../../lib/', import.meta.url);

/** Every module that `path` imports, directly or not, relative to lib/. */
function importsOf(path: string, found = new Set<string>()): Set<string> {
  if (found.has(path)) return found;
  found.add(path);
  const url = new URL(path, root);
  for (const [, specifier] of readFileSync(url, 'utf8').matchAll(/\bfrom '([^']+)'/g)) {
    if (!specifier.startsWith('.')) found.add(specifier);
    else {
      const target = new URL(specifier.replace(/\.js$/, '.ts'), url);
      importsOf(target.href.slice(root.href.length), found);
    }
  }
  return found;
}

it('is plain TypeScript: outside its folder the reference needs nothing but error messages', () => {
  const outside = [...importsOf('reference/index.ts')].filter((x) => !x.startsWith('reference/'));
  expect(outside.sort()).toEqual(['native/errors.ts', 'native/show.ts']);
});
