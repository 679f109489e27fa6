/**
 * The package as a stranger gets it: packed, installed from the tarball on a machine without any
 * build tool, and used from ESM, CommonJS and a worker thread.
 */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
const minutes = 60_000;

/** One key: softmax over it is 1, so the output is the value. */
const body = `
  const values = Float32Array.from({ length: 64 }, (_, i) => i - 32);
  const q = tensor(new Float32Array(64).fill(0.5), [1, 1, 1, 64]);
  const v = tensor(values, [1, 1, 1, 64]);
  const out = await flashAttention(q, q, v).toFloat32();
  console.log(out.length === 64 && out.every((x, i) => x === values[i]) ? 'correct' : out);
`;
const imports = `{ flashAttention, tensor }`;
const consumers = {
  ESM: ['esm.mjs', `import ${imports} from 'flash-attention'; ${body}`],
  CommonJS: [
    'cjs.cjs',
    `const ${imports} = require('flash-attention'); (async () => { ${body} })();`,
  ],
  'a worker thread': [
    'worker.cjs',
    `const { isMainThread, Worker } = require('node:worker_threads');
     if (isMainThread) new Worker(__filename);
     else { const ${imports} = require('flash-attention'); (async () => { ${body} })(); }`,
  ],
  'the reference entry point': [
    'reference.mjs',
    `import * as reference from 'flash-attention/reference';
     console.log(typeof reference.standardAttention === 'function' ? 'correct' : reference);`,
  ],
  'the serving entry point': [
    'serving.mjs',
    `import { tensor } from 'flash-attention';
     import { applyRotary } from 'flash-attention/serving';
     const table = tensor([0, 0], [1, 2]);
     const x = applyRotary(tensor([1, 2, 3, 4], [1, 1, 4]), { cos: table, sin: table });
     console.log((await x.data()).every((value) => value === 0) ? 'correct' : x);`,
  ],
} as const;

/** Every file the tarball may have; each pattern has to match at least one. */
const allowed = [
  /^package\.json$/,
  /^(README|CHANGELOG|CODE_OF_CONDUCT|CONTRIBUTING|SECURITY)\.md$/,
  /^docs\/([\w-]+\/)?[\w-]+\.md$/,
  /^examples\/(model\/)?[\w-]+\.mjs$/,
  /^LICENSE$/,
  /^CMakeLists\.txt$/,
  /^(binding|embedded)\.cjs$/,
  /^embedded-nowhere\.js$/,
  /^scripts\/cmake-build\.cjs$/,
  /^dist\/(index|reference|serving)\.(js|cjs|d\.ts|d\.cts)$/,
  /^dist\/chunk-\w+\.c?js$/,
  /^dist\/[\w-]+\.d\.c?ts$/, // declarations that entry points share
  /^dist\/cli(-main)?\.js$/,
  /^cmake\/\w+\.cmake$/,
  /^csrc\/(core|cpu|cpu\/kernels|binding)\/\w+\.(h|cpp|map)$/,
  /^csrc\/cuda\/(\w+\/)?\w+\.(h|cpp|cu)$/, // and nothing of csrc/simt, which only tests use
  /^prebuilds\/[a-z0-9]+-[a-z0-9]+\/flash-attention\.(glibc|musl)\.node$/,
];

let folder: string;
let tarball: string;
let packed: string[];

function onPath(name: string): string {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  const found = folders.map((each) => path.join(each, name)).find((file) => existsSync(file));
  if (!found) throw new Error(`${name} is not on PATH`);
  return found;
}

/** A PATH with node, npm and a shell, and nothing that could compile. */
function bareEnvironment(): NodeJS.ProcessEnv {
  const bin = path.join(folder, 'bin');
  if (!existsSync(bin)) {
    mkdirSync(bin);
    symlinkSync(process.execPath, path.join(bin, 'node'));
    for (const name of ['npm', 'npx', 'sh']) symlinkSync(onPath(name), path.join(bin, name));
  }
  const kept = Object.entries(process.env).filter(
    // What the npm that runs the tests tells its scripts is about this folder, not the new one.
    ([name]) =>
      !/^(npm_(lifecycle|package|command|execpath|config_local)|FLASH_ATTENTION|NODE_|CXX$)/.test(
        name,
      ),
  );
  return { ...Object.fromEntries(kept), PATH: bin };
}

/** Runs a command, by default without build tools, and gives what it printed. */
function run(cwd: string, argv: string[], env = bareEnvironment()): string {
  const [command, ...args] = argv as [string, ...string[]];
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env,
    encoding: 'utf8',
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${argv.join(' ')}: status ${status}\n${stdout}\n${stderr}`);
  return stdout.trim();
}

function installInto(name: string, ...flags: string[]): string {
  const consumer = path.join(folder, name);
  mkdirSync(consumer);
  writeFileSync(path.join(consumer, 'package.json'), '{ "private": true }');
  for (const [file, source] of Object.values(consumers)) {
    writeFileSync(path.join(consumer, file), source);
  }
  run(consumer, [
    'npm',
    'install',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    ...flags,
    tarball,
  ]);
  return consumer;
}

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-pack-'));
  // Builds the TypeScript and the prebuilt binary first (prepack).
  run(root, ['npm', 'pack', '--silent', '--pack-destination', folder], process.env);
  tarball = path.join(folder, readdirSync(folder).find((name) => name.endsWith('.tgz')) as string);
  packed = run(root, ['tar', '-tzf', tarball], process.env)
    .split('\n')
    .map((name) => name.replace(/^package\//, ''));
}, 10 * minutes);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('the environment of these tests has no build tools', () => {
  const tools = ['cc', 'c++', 'gcc', 'g++', 'clang++', 'cmake', 'make', 'ninja', 'python3'];
  const found = tools.filter((tool) => {
    const { status } = spawnSync('sh', ['-c', `command -v ${tool}`], { env: bareEnvironment() });
    return status === 0;
  });
  expect(found).toEqual([]);
});

test('the tarball has the files it should have, and no others', () => {
  expect(packed.filter((name) => !allowed.some((pattern) => pattern.test(name)))).toEqual([]);
  expect(allowed.filter((pattern) => !packed.some((name) => pattern.test(name)))).toEqual([]);
  expect(packed.filter((name) => name.endsWith('.node'))).toHaveLength(1);
});

test('links of the README lead to files that are there', () => {
  const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
  const links = [...readme.matchAll(/\]\(([^)#\s]+)/g)].map(([, link]) => link);
  const relative = links.filter((link) => !/^[a-z]+:/.test(link));
  expect(relative.length).toBeGreaterThan(5);
  expect(relative.filter((link) => !packed.includes(link))).toEqual([]);
});

test('the declarations show nothing internal', () => {
  const names = packed.filter((name) => /\.d\.c?ts$/.test(name));
  expect(names).not.toEqual([]);
  for (const name of names) {
    const text = readFileSync(path.join(root, name), 'utf8');
    expect(text).not.toMatch(/@internal|unique symbol|NativeTensor/);
  }
});

describe.each([
  ['normally', []],
  ['with --ignore-scripts', ['--ignore-scripts']],
])('installed %s without build tools', (_, flags) => {
  let consumer: string;
  beforeAll(() => {
    consumer = installInto(`consumer${flags.join('')}`, ...flags);
  }, 5 * minutes);

  test('brings its two dependencies and no more', () => {
    const names = readdirSync(path.join(consumer, 'node_modules'));
    const packages = names.filter((name) => !name.startsWith('.')).sort();
    expect(packages).toEqual(['commander', 'flash-attention', 'node-gyp-build']);
  });

  test.each(Object.keys(consumers) as (keyof typeof consumers)[])('works from %s', (name) => {
    expect(run(consumer, ['node', consumers[name][0]])).toBe('correct');
  });

  test('has a command line', () => {
    expect(run(consumer, ['npx', '--no', 'flash-attention', 'info'])).toContain(version);
  });
});

describe('installed where no prebuilt binary fits', () => {
  let consumer: string;
  let installed: string;
  beforeAll(() => {
    consumer = installInto('no-prebuild', '--ignore-scripts');
    installed = path.join(consumer, 'node_modules/flash-attention');
    rmSync(path.join(installed, 'prebuilds'), { recursive: true });
  }, 5 * minutes);

  test('says what to do when it is used', () => {
    const source = `try { require('flash-attention').tensor([1], [1]) } catch (e) { console.log(e.code, e.message) }`;
    const output = run(consumer, ['node', '-e', source]);
    expect(output).toContain('ERR_NATIVE_BINARY');
    expect(output).toContain(`${process.platform}-${process.arch}`);
    expect(output).toContain('npx flash-attention build');
  });

  test('names the missing tools when it is built', () => {
    const build = path.join(installed, 'scripts/cmake-build.cjs');
    const options = { cwd: consumer, env: bareEnvironment(), encoding: 'utf8' as const };
    const { status, stderr } = spawnSync('node', [build], options);
    expect(status).toBe(1);
    expect(stderr).toContain('CMake, a C++ compiler, make (or ninja) not found');
    expect(stderr).toContain('sudo apt-get install cmake g++ make');
  });

  test('names the missing npm packages when it is built with tools', () => {
    const build = path.join(installed, 'scripts/cmake-build.cjs');
    const { status, stderr } = spawnSync('node', [build], { cwd: consumer, encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /npm install --save-dev cmake-js@\S+ node-addon-api@\S+ node-api-headers@/,
    );
  });

  test(
    'compiles from its own sources',
    () => {
      const build = path.join(installed, 'scripts/cmake-build.cjs');
      // From here, where the build packages are; the baseline instruction set keeps it short.
      const isas = process.arch === 'x64' ? ['-DFLASH_ATTENTION_ISAS=v2'] : [];
      run(root, ['node', build, ...isas], process.env);
      expect(run(consumer, ['node', 'cjs.cjs'])).toBe('correct');
    },
    10 * minutes,
  );
});
