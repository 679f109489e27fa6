// `flash-attention info`, `build` and the command line as a whole.
import path from 'node:path';
import { jest } from '@jest/globals';
import type { Info } from '../lib/cli/info.js';
import { version } from '../lib/native/package.js';
import { installWithoutBinary, root, runCli, scratchFolder } from './support/cli.js';

// Every test starts processes, on machines that may be busy.
jest.setTimeout(120_000);

const { folder, done } = scratchFolder();
afterAll(done);

let bare: string;
beforeAll(() => {
  bare = installWithoutBinary(path.join(folder, 'bare'));
});

describe('info', () => {
  test('tells what attention runs on', async () => {
    const { status, stdout, stderr } = await runCli(['info', '--json']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const info = JSON.parse(stdout) as Info;
    expect(info).toMatchObject({
      package: 'flash-attention',
      version,
      node: process.versions.node,
      platform: `${process.platform}-${process.arch}`,
      defaultDevice: 'cpu',
    });
    expect(info.addon?.path).toContain(root);
    expect(info.addon?.isaLevels).toContain(info.addon?.isa);
    expect(info.addon?.threads).toBeGreaterThan(0);
    const [cpu, cuda] = info.devices;
    expect(cpu).toMatchObject({ name: 'cpu', available: true });
    expect(cuda).toMatchObject({ name: 'cuda:0', available: false });
    expect(cuda.reason).toMatch(/NVIDIA driver|no CUDA backend/);
  });

  test('is readable, and heeds the variables', async () => {
    const env = { FLASH_ATTENTION_NUM_THREADS: '1' };
    const { status, stdout } = await runCli(['info'], { env });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^threads +1$/m);
    expect(stdout).toMatch(/^cuda:0 +not usable: .*(NVIDIA driver|no CUDA backend)/m);
    const forced = await runCli(['info', '--json'], { env: { FLASH_ATTENTION_DEVICE: 'cuda' } });
    expect(forced.status).toBe(1);
    expect(JSON.parse(forced.stdout)).toMatchObject({ error: expect.stringContaining("'cuda'") });
  });

  test('tells what it can where there is no binary', async () => {
    const { status, stdout, stderr } = await runCli(['info'], { install: bare });
    expect(status).toBe(1);
    expect(stdout).toMatch(/^addon +none$/m);
    expect(stderr).toContain('no usable native binary');
    expect(stderr).toContain('npx flash-attention doctor');
  });
});

describe('build', () => {
  test('names what is missing', async () => {
    const env = { PATH: path.join(folder, 'no-such-bin'), CXX: '' };
    const { status, stdout, stderr } = await runCli(['build'], { install: bare, env });
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(/CMake, a C\+\+ compiler, make .* not found/);
    expect(stderr).toContain('apt-get install cmake g++ make');
  });
});

describe('the command line', () => {
  test('shows its commands', async () => {
    const { status, stdout } = await runCli(['--help']);
    expect(status).toBe(0);
    const commands = [...stdout.matchAll(/^ {2}(\w+) .*\S {2,}\S/gm)].map(([, name]) => name);
    expect(commands).toEqual(['info', 'doctor', 'run', 'explain', 'viz', 'build', 'help']);
  });

  test('knows its version', async () => {
    expect(await runCli(['--version'])).toMatchObject({
      status: 0,
      stdout: `${version}\n`,
    });
  });

  test.each([
    [['frobnicate'], /unknown command/],
    [['info', '--jsn'], /Did you mean --json/],
    [[], /Usage/],
  ])('refuses %p', async (args, message) => {
    const { status, stdout, stderr } = await runCli(args);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(message);
  });
});
