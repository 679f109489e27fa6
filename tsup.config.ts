import { readFileSync } from 'node:fs';
import { defineConfig } from 'tsup';

const { engines } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  engines: { node: string };
};
const nodeFloor = engines.node.replace('>=', '');

// Flat output, so that '../binding.cjs' is right from lib/ (jest) and from dist/ alike.
const library = { index: 'lib/index.ts', reference: 'lib/reference/index.ts' };

export default defineConfig([
  {
    entry: library,
    format: ['esm', 'cjs'],
    target: 'node20',
    shims: true, // import.meta.url in the CommonJS output
    splitting: true, // one copy of each class, whichever entry point it came through
    // Members marked @internal are left out. tsup passes the deprecated baseUrl to the compiler.
    dts: { compilerOptions: { stripInternal: true, ignoreDeprecations: '6.0' } },
  },
  {
    entry: { cli: 'lib/cli/cli.ts' },
    format: ['esm'],
    target: 'node12.20', // it must run, to refuse, where the rest cannot
    external: ['./cli-main.js'],
    define: { NODE_FLOOR: JSON.stringify(nodeFloor) },
  },
  {
    entry: { 'cli-main': 'lib/cli/cli-main.ts' },
    format: ['esm'],
    target: 'node20',
    // Development dependencies are bundled here, and the CommonJS ones among them call require().
    banner: {
      js: "import { createRequire as cliRequire } from 'node:module';\nconst require = cliRequire(import.meta.url);",
    },
  },
]);
