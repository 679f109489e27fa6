// `npm run gpu:pack`: puts what a machine without npm needs for scripts/gpu-check into .gpu-carry/:
// the device tests and the benchmark bundled with the library, headers, the test vectors if there
// are any, and this node binary, compressed.
//
//   --addon           the addon too, compiled here by nvcc: no minutes of the GPU's machine
//   --capability N    the compute capability it is for (90), without its point
//   --no-node         leaves the node binary out
//   --out FOLDER      another folder
import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { deviceTests } from '../device-tests.mjs';
import { ensureInstalled, globFiles, root, run } from '../ensure-built.mjs';
import { bundle } from './bundle.mjs';

ensureInstalled();
const require = createRequire(import.meta.url);
const { values: options } = parseArgs({
  options: {
    addon: { type: 'boolean', default: false },
    capability: { type: 'string', default: '90' },
    'no-node': { type: 'boolean', default: false },
    out: { type: 'string', default: path.join(root, '.gpu-carry') },
  },
});
const carry = path.resolve(options.out);
rmSync(carry, { recursive: true, force: true });
mkdirSync(path.join(carry, 'check'), { recursive: true });

const tests = globFiles('test', new RegExp(`^${deviceTests}`));
const entry = path.join(root, 'scripts/gpu/tests.generated.ts');
const loads = tests.map((file) => {
  const source = JSON.stringify(`../../${file.replaceAll('\\', '/').replace(/\.ts$/, '.js')}`);
  return `  ${JSON.stringify(path.basename(file))}: () => import(${source}),`;
});
const lines = [
  "import { runTests } from './test-processes.js';",
  'await runTests({',
  ...loads,
  '});',
];
writeFileSync(entry, `${lines.join('\n')}\n`);
try {
  await bundle(
    {
      tests: entry,
      'bench-server': 'scripts/gpu/bench-server.ts',
      'small-set': 'scripts/gpu/small-set.ts',
    },
    path.join(carry, 'check'),
  );
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
if (!options['no-node']) {
  copyFileSync(process.execPath, path.join(carry, 'node'));
  run('xz', ['-T0', path.join(carry, 'node')]);
}
if (options.addon) {
  const build = ['scripts/cmake-build.cjs', 'Release', '--out', 'build-gpu/packed'];
  const defines = [
    `-DFLASH_ATTENTION_GPU=${options.capability}`,
    `-DFLASH_ATTENTION_OUTPUT_DIR=${carry}`,
  ];
  const env = { ...process.env, FLASH_ATTENTION_CUDA: 'on' };
  run(process.execPath, [...build, ...defines], { env });
  run('strip', ['--strip-all', path.join(carry, 'flash_attention.node')]);
}
const { stdout: size } = spawnSync('du', ['-sh', carry], { encoding: 'utf8' });
console.log(
  `gpu-pack: ${tests.length} test files in ${path.relative(root, carry)}, ${size.split('\t')[0]}`,
);
