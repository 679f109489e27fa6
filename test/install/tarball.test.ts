// What is in the tarball, and the package as npm installs it.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { root } from '../support/cli.js';
import {
  bareEnvironment,
  npmProject,
  type Program,
  programs,
  run,
  scratch,
  tarball,
} from './consumer.js';
import { record } from './record.js';

const minutes = 60_000;
const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));

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
  /^dist\/viz\.html$/,
  /^cmake\/\w+\.cmake$/,
  /^csrc\/(core|cpu|binding)\/(\w+\/)?\w+\.(h|cpp|map|def)$/,
  /^csrc\/cuda\/(\w+\/){0,2}\w+\.(h|cpp|cu|def)$/, // and nothing of csrc/simt, which only tests use
  /^prebuilds\/(linux|darwin|win32)-(x64|arm64)\/flash-attention(\.glibc|\.musl)?\.node$/,
];

const folder = scratch();
const packed = run(root, ['tar', '-tzf', tarball], process.env)
  .split('\n')
  .map((name) => name.replace(/^package\//, ''));

test('the environment of these tests has no build tools', () => {
  const tools = ['cc', 'c++', 'gcc', 'g++', 'clang++', 'cmake', 'make', 'ninja', 'python3'];
  const found = tools.filter((tool) => {
    const env = bareEnvironment(folder);
    return spawnSync('sh', ['-c', `command -v ${tool}`], { env }).status === 0;
  });
  expect(found).toEqual([]);
});

test('the tarball has the files it should have, and no others', () => {
  expect(packed.filter((name) => !allowed.some((pattern) => pattern.test(name)))).toEqual([]);
  expect(allowed.filter((pattern) => !packed.some((name) => pattern.test(name)))).toEqual([]);
});

test('nothing in it runs when it is installed', () => {
  const manifest = run(root, ['tar', '-xzOf', tarball, 'package/package.json'], process.env);
  const { scripts } = JSON.parse(manifest);
  for (const name of ['preinstall', 'install', 'postinstall'])
    expect(scripts).not.toHaveProperty(name);
  // npm, pnpm and Yarn take this file for an install script.
  expect(packed).not.toContain('binding.gyp');
});

test('the declarations show nothing internal', () => {
  const names = packed.filter((name) => /\.d\.c?ts$/.test(name));
  expect(names).not.toEqual([]);
  for (const name of names) {
    const text = readFileSync(path.join(root, name), 'utf8');
    expect(text).not.toMatch(/@internal|unique symbol|NativeTensor/);
  }
});

describe('installed by npm', () => {
  let project: string;
  let seconds: number;
  beforeAll(() => {
    const started = Date.now();
    project = npmProject(folder, 'npm');
    run(project, ['node', 'esm.mjs'], bareEnvironment(folder));
    seconds = (Date.now() - started) / 1000;
  }, 5 * minutes);

  test('it brings its two dependencies and no more', () => {
    const names = readdirSync(path.join(project, 'node_modules'));
    const packages = names.filter((name) => !name.startsWith('.')).sort();
    expect(packages).toEqual(['commander', 'flash-attention', 'node-gyp-build']);
    const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(2)} MiB`;
    const installed = path.join(project, 'node_modules/flash-attention');
    const files = readdirSync(installed, { recursive: true }) as string[];
    const bytes = files
      .map((name) => statSync(path.join(installed, name)))
      .filter((s) => s.isFile());
    const unpacked = bytes.reduce((sum, { size }) => sum + size, 0);
    const binaries = packed.filter((name) => name.endsWith('.node'));
    record({ table: 'figure', name: 'tarball', value: mib(statSync(tarball).size) });
    record({ table: 'figure', name: 'unpacked', value: mib(unpacked) });
    record({ table: 'figure', name: 'binaries in it', value: binaries.join(', ') });
    record({ table: 'figure', name: 'dependencies', value: 'commander, node-gyp-build' });
    record({
      table: 'figure',
      name: 'from `npm install` in an empty folder to the first result',
      value: `${seconds.toFixed(1)} s`,
    });
  });

  test.each(Object.keys(programs) as Program[])('%s works', (program) => {
    expect(run(project, ['node', program], bareEnvironment(folder))).toBe('correct');
  });

  test('of a GPU it says that it is usable, or what is missing', () => {
    const program = `
      const { available, reason } = require('flash-attention').devices()[1];
      console.log(available ? 'usable' : reason);
    `;
    const said = run(project, ['node', '-e', program], bareEnvironment(folder));
    expect(said).toMatch(/^usable$|NVIDIA driver|^this build has no CUDA backend/);
  });

  test('it has a command line', () => {
    const command = ['npx', '--no', 'flash-attention', 'info'];
    expect(run(project, command, bareEnvironment(folder))).toContain(version);
  });
});
