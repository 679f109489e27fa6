// `npm run gpu:pack`: puts what a machine without npm needs for scripts/gpu-check into .gpu-carry/: the device tests and the
// benchmark bundled with the library, headers, the test vectors if there are any, and this node binary, compressed
// (--no-node leaves it out; --out names another folder).
import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { build } from 'esbuild';
import { deviceTests } from '../device-tests.mjs';
import { ensureInstalled, globFiles, root } from '../ensure-built.mjs';

ensureInstalled();
const require = createRequire(import.meta.url);
const at = process.argv.indexOf('--out');
const carry = at > 0 ? path.resolve(process.argv[at + 1]) : path.join(root, '.gpu-carry');
rmSync(carry, { recursive: true, force: true });
mkdirSync(path.join(carry, 'check'), { recursive: true });

const tests = globFiles('test', new RegExp(`^${deviceTests}`));
const entry = path.join(root, 'scripts/gpu/tests.generated.ts');
const imports = tests.map((file) => {
  const source = JSON.stringify(`../../${file.replaceAll('\\', '/').replace(/\.ts$/, '.js')}`);
  return `await inFile(${JSON.stringify(path.basename(file))}, () => import(${source}));`;
});
const lines = ["import { inFile, runAll } from './harness.js';", ...imports, 'await runAll();'];
writeFileSync(entry, `${lines.join('\n')}\n`);
try {
  await build({
    absWorkingDir: root,
    entryPoints: {
      tests: entry,
      'bench-server': 'scripts/gpu/bench-server.ts',
      'small-set': 'scripts/gpu/small-set.ts',
    },
    outdir: path.join(carry, 'check'),
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
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
} finally {
  rmSync(entry);
}

// The bundles look for these one folder up, as lib/ does.
for (const file of ['binding.cjs', 'package.json']) {
  copyFileSync(path.join(root, file), path.join(carry, file));
}
const headers = path.join(carry, 'headers');
cpSync(require('node-api-headers').include_dir, path.join(headers, 'node-api-headers'), {
  recursive: true,
});
mkdirSync(path.join(headers, 'node-addon-api'));
const addonApi = path.dirname(require.resolve('node-addon-api/package.json'));
for (const file of ['napi.h', 'napi-inl.h', 'napi-inl.deprecated.h']) {
  copyFileSync(path.join(addonApi, file), path.join(headers, 'node-addon-api', file));
}
const vectors = process.env.FLASH_ATTENTION_CONFORMANCE ?? path.join(root, '../shared/conformance');
if (existsSync(vectors)) cpSync(vectors, path.join(carry, 'conformance'), { recursive: true });
if (!process.argv.includes('--no-node')) {
  copyFileSync(process.execPath, path.join(carry, 'node'));
  const { status } = spawnSync('xz', ['-T0', path.join(carry, 'node')], { stdio: 'inherit' });
  if (status !== 0) throw new Error('xz failed');
}
console.log(`gpu-pack: ${tests.length} test files in ${path.relative(root, carry)}`);
