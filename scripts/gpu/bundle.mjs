// Bundles TypeScript for machines without npm.
import { root } from '../ensure-built.mjs';
import { define } from '../package-constants.mjs';

export async function bundle(entryPoints, outdir) {
  const { build } = await import('esbuild'); // not there before `npm ci`
  await build({
    absWorkingDir: root,
    entryPoints,
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['#binding'],
    define,
    // Packages in CommonJS call require() and look at __dirname.
    banner: {
      js: [
        "import { createRequire as bundleRequire } from 'node:module';",
        'const require = bundleRequire(import.meta.url);',
        'const __filename = import.meta.filename, __dirname = import.meta.dirname;',
      ].join('\n'),
    },
    logLevel: 'warning',
  });
}
