// The installed package where its binary does not fit, or is not what it was.
import { spawnSync } from 'node:child_process';
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../support/cli.js';
import { bareEnvironment, npmProject, run, scratch } from './consumer.js';
import { everything } from './record.js';

const minutes = 60_000;
const folder = scratch();
let project: string;
let installed: string;
let binary: string;
let content: Buffer;

beforeAll(() => {
  project = npmProject(folder, 'project');
  installed = path.join(project, 'node_modules/flash-attention');
  const prebuilds = path.join(installed, 'prebuilds', `${process.platform}-${process.arch}`);
  const name = readdirSync(prebuilds).find((file) => !file.includes('musl')) as string;
  binary = path.join(prebuilds, name);
  content = readFileSync(binary);
}, 5 * minutes);

/** What both entry points say, which is the same. */
function use(): string {
  const [esm, cjs] = ['esm.mjs', 'cjs.cjs'].map((program) =>
    run(project, ['node', program], bareEnvironment(folder)),
  );
  expect(esm).toBe(cjs);
  return esm;
}

describe('a binary that the system refuses is an error with a remedy', () => {
  afterEach(() => writeFileSync(binary, content));

  test('one that is cut short', () => {
    writeFileSync(binary, content.subarray(0, 5000));
    const output = use();
    expect(output).toMatch(/^ERR_NATIVE_BINARY flash-attention: no usable native binary for /);
    expect(output).toContain(binary);
    expect(output).toMatch(/truncated or of another system/);
    expect(output).toContain('install the package again');
  });

  test('one of another system', () => {
    writeFileSync(binary, Buffer.concat([Buffer.from('cffaedfe', 'hex'), content.subarray(4)]));
    const output = use();
    expect(output).toMatch(/^ERR_NATIVE_BINARY/);
    expect(output).toMatch(/of another system, as when node_modules was copied/);
  });

  test('one of another package', () => {
    const other = path.join(root, 'node_modules/@swc/core-linux-x64-gnu');
    const name = readdirSync(other).find((file) => file.endsWith('.node')) as string;
    copyFileSync(path.join(other, name), binary);
    expect(use()).toMatch(
      /^ERR_NATIVE_BINARY [\s\S]*The file is no addon, or one of another package/,
    );
  });
});

describe('where no prebuilt binary fits', () => {
  beforeAll(() => rmSync(path.join(installed, 'prebuilds'), { recursive: true }));

  test('it says what to do', () => {
    const output = use();
    expect(output).toMatch(/^ERR_NATIVE_BINARY /);
    expect(output).toContain(`${process.platform}-${process.arch}`);
    expect(output).toContain('npx flash-attention build');
    expect(output).not.toContain('Cannot find module');
  });

  test('a build names the missing tools', () => {
    const options = { cwd: project, env: bareEnvironment(folder), encoding: 'utf8' as const };
    const command = ['--no', 'flash-attention', 'build'];
    const { status, stderr } = spawnSync('npx', command, options);
    expect(status).toBe(1);
    expect(stderr).toContain('CMake, a C++ compiler, make (or ninja) not found');
    expect(stderr).toContain('sudo apt-get install cmake g++ make');
  });

  test('a build with tools names the missing npm packages', () => {
    const build = path.join(installed, 'scripts/cmake-build.cjs');
    const { status, stderr } = spawnSync('node', [build], { cwd: project, encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /npm install --save-dev cmake-js@\S+ node-addon-api@\S+ node-api-headers@/,
    );
  });

  // Minutes, and most of them a second time: what is compiled is what every other test runs.
  if (everything) {
    test(
      'it compiles from its own sources',
      () => {
        const build = path.join(installed, 'scripts/cmake-build.cjs');
        // From here, where the build packages are; the baseline instruction set keeps it short.
        const isas = process.arch === 'x64' ? ['-DFLASH_ATTENTION_ISAS=v2'] : [];
        run(root, ['node', build, ...isas], process.env);
        expect(use()).toBe('correct');
      },
      10 * minutes,
    );
  }
});
