import { defineConfig } from 'tsup';
// @ts-expect-error: plain JavaScript
import { define } from './scripts/package-constants.mjs';
// @ts-expect-error: plain JavaScript
import { writeVizPage } from './scripts/viz-page.mjs';

// The loader stays in its place, beside prebuilds/.
const external = ['#binding'];

const library = {
  index: 'lib/index.ts',
  reference: 'lib/reference/index.ts',
  serving: 'lib/serving/index.ts',
};

export default defineConfig([
  {
    entry: library,
    external,
    define,
    format: ['esm', 'cjs'],
    target: 'node20',
    esbuildOptions(options, { format }) {
      // There is none in CommonJS, which has __dirname.
      if (format === 'cjs') options.define = { ...define, 'import.meta.url': 'undefined' };
    },
    splitting: true, // one copy of each class, whichever entry point it came through
    // Members marked @internal are left out. tsup passes the deprecated baseUrl to the compiler.
    dts: { compilerOptions: { stripInternal: true, ignoreDeprecations: '6.0' } },
  },
  {
    entry: { cli: 'lib/cli/cli.ts' },
    format: ['esm'],
    target: 'node12.20', // it must run, to refuse, where the rest cannot
    external: ['./cli-main.js'],
    define,
  },
  {
    entry: { 'cli-main': 'lib/cli/cli-main.ts' },
    external,
    define,
    format: ['esm'],
    target: 'node20',
    // Development dependencies are bundled here, and the CommonJS ones among them call require().
    banner: {
      js: "import { createRequire as cliRequire } from 'node:module';\nconst require = cliRequire(import.meta.url);",
    },
  },
  {
    entry: { viz: 'viz/main.ts' },
    format: ['iife'],
    platform: 'browser',
    target: 'es2022',
    minify: true,
    noExternal: [/./],
    outExtension: () => ({ js: '.script.js' }),
    async onSuccess() {
      writeVizPage('dist/viz.script.js');
    },
  },
]);
