import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { Script } from 'node:vm';
import { jest } from '@jest/globals';
import { findAddon } from '../lib/native/binding.js';
import { compareVersions, requiredGlibc } from '../lib/cli/addon-file.js';
import { judgeProbe, showChecks } from '../lib/cli/doctor.js';
import { type Check, note, ok, problem, warning } from '../lib/cli/doctor-check.js';
import { checkKernelImage, nvidiaDriver } from '../lib/cli/doctor-devices.js';
import { checkEnvironment } from '../lib/cli/doctor-environment.js';
import { checkBinary, checkRuntime, checkVersion, loadProblem } from '../lib/cli/doctor-install.js';
import { checkMemory, checkProcessor, x86Level } from '../lib/cli/doctor-machine.js';
import { checkPermission } from '../lib/cli/doctor-permission.js';
import { readProbe } from '../lib/cli/run-probe.js';
import { nodeFloor, version } from '../lib/native/package.js';
import {
  type CliOptions,
  fakeAddon,
  installWithoutBinary,
  root,
  runCli,
  scratchFolder,
} from './support/cli.js';

// Every test starts processes, on machines that may be busy.
jest.setTimeout(120_000);

const { folder, done } = scratchFolder();
afterAll(done);
const at = (name: string) => path.join(folder, name);

interface Diagnosis {
  readonly status: number;
  readonly healthy: boolean;
  /** By name; of several checks of one name the worst. */
  readonly checks: Readonly<Record<string, Check>>;
}

async function diagnose(options: CliOptions = {}, ...flags: string[]): Promise<Diagnosis> {
  const { status, stdout } = await runCli(['doctor', '--json', ...flags], options);
  const { healthy, checks } = JSON.parse(stdout) as { healthy: boolean; checks: Check[] };
  return { status, healthy, checks: Object.fromEntries(checks.map((c) => [c.name, c])) };
}

describe('doctor', () => {
  test('finds nothing wrong with a working install', async () => {
    const { status, healthy, checks } = await diagnose();
    expect({ status, healthy }).toEqual({ status: 0, healthy: true });
    const fine = ['Node', 'environment', 'binary', 'glibc', 'loading', 'threads', 'attention'];
    for (const name of fine) expect(checks[name]).toMatchObject({ status: 'ok' });
    expect(checks.attention.found).toMatch(/right on cpu in float32 .* float16 .* bfloat16/);
    expect(checks['cuda:0']).toMatchObject({ status: 'note' });
    for (const name of ['platform', 'memory', 'build tools']) expect(checks).toHaveProperty([name]);
  });

  test('prints a line per check and a verdict', async () => {
    const { status, stdout } = await runCli(['doctor']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^flash-attention \d+\.\d+\.\d+\n/);
    expect(stdout).toMatch(/^ok +loading +works/m);
    expect(stdout.trimEnd()).toMatch(/Everything works( \(\d warnings?\))?\.$/);
    expect(stdout).not.toContain('\x1b');
    const colored = await runCli(['doctor'], { env: { FORCE_COLOR: '1' } });
    expect(colored.stdout).toContain('\x1b[32mok');
  });

  test('explains an install without a binary', async () => {
    const install = installWithoutBinary(at('bare'));
    const { status, healthy, checks } = await diagnose({ install });
    expect({ status, healthy }).toEqual({ status: 1, healthy: false });
    expect(checks.binary).toMatchObject({ status: 'problem', found: 'none found for this system' });
    expect(checks.binary.remedy).toContain('npx flash-attention build');
    expect(checks.loading.found).toBe('no file is there for this system');
  });

  test('explains a binary that is a text file, a pointer or cut short', async () => {
    writeFileSync(at('text.node'), 'version https://git-lfs.github.com/spec/v1\n');
    const pointer = await diagnose({ env: { FLASH_ATTENTION_ADDON: at('text.node') } });
    expect(pointer.status).toBe(1);
    expect(pointer.checks['binary format'].found).toContain('Git LFS pointer');
    expect(pointer.checks.loading).toMatchObject({ status: 'problem' });
    expect(pointer.checks.loading.remedy).toContain('truncated or of another system');

    const real = findAddon()?.path as string;
    writeFileSync(at('short.node'), readFileSync(real).subarray(0, 2000));
    const short = await diagnose({ env: { FLASH_ATTENTION_ADDON: at('short.node') } });
    expect(short.status).toBe(1);
    expect(short.checks.loading).toMatchObject({ status: 'problem' });

    const missing = await diagnose({ env: { FLASH_ATTENTION_ADDON: at('gone.node') } });
    expect(missing.status).toBe(1);
    expect(missing.checks.binary.found).toContain('gone.node does not exist');
    expect(missing.checks.FLASH_ATTENTION_ADDON).toMatchObject({ status: 'problem' });
  });

  test('takes a binary from elsewhere when told to, and says so', async () => {
    copyFileSync(findAddon()?.path as string, at('copy.node'));
    const { status, checks } = await diagnose({ env: { FLASH_ATTENTION_ADDON: at('copy.node') } });
    expect(status).toBe(0);
    expect(checks.binary.found).toContain(`${at('copy.node')} (FLASH_ATTENTION_ADDON, `);
  });

  test('finds prebuilt binaries, and local builds that hide them', async () => {
    const install = installWithoutBinary(at('prebuilt'));
    const flavour = process.platform === 'linux' ? '.glibc' : '';
    const prebuilds = path.join(install, 'prebuilds', `${process.platform}-${process.arch}`);
    mkdirSync(prebuilds, { recursive: true });
    const real = findAddon()?.path as string;
    copyFileSync(real, path.join(prebuilds, `flash-attention${flavour}.node`));
    const prebuilt = await diagnose({ install });
    expect(prebuilt.status).toBe(0);
    expect(prebuilt.checks.binary.found).toContain('(prebuilt, ');
    expect(prebuilt.checks.platform.found).toContain('with a prebuilt binary');

    mkdirSync(path.join(install, 'build', 'Release'), { recursive: true });
    copyFileSync(real, path.join(install, 'build', 'Release', 'flash_attention.node'));
    const hidden = await diagnose({ install });
    expect(hidden.status).toBe(0);
    expect(hidden.checks['local build'].found).toContain('comes before the prebuilt binary');
  });

  test('survives a binary that ends the process', async () => {
    const early = fakeAddon(folder, 'early', "process.kill(process.pid, 'SIGILL');");
    const loading = await diagnose({ env: { FLASH_ATTENTION_ADDON: early } });
    expect(loading.status).toBe(1);
    expect(loading.checks.loading.found).toBe('loading the addon ended the process with SIGILL');
    expect(loading.checks.loading.remedy).toContain('The processor lacks instructions');

    const late = fakeAddon(
      folder,
      'late',
      "module.exports = { ...real, attention() { process.kill(process.pid, 'SIGSEGV'); } };",
    );
    const attention = await diagnose({ env: { FLASH_ATTENTION_ADDON: late } });
    expect(attention.status).toBe(1);
    const { loading: loaded, attention: ran } = attention.checks;
    expect(loaded).toMatchObject({ status: 'ok' });
    expect(ran.found).toBe('running attention ended the process with SIGSEGV');
  });

  test('notices wrong results', async () => {
    const addon = fakeAddon(
      folder,
      'wrong',
      'module.exports = { ...real, attention: (args) => real.attention({ ...args, causal: false }) };',
    );
    const { status, checks } = await diagnose({ env: { FLASH_ATTENTION_ADDON: addon } });
    expect(status).toBe(1);
    expect(checks.attention).toMatchObject({ status: 'problem' });
    expect(checks.attention.found).toMatch(/WRONG on cpu: float32: error \d/);
  });

  test('exits with 1 when the wanted device cannot be used', async () => {
    const asked = await diagnose({}, '--device', 'cuda');
    expect(asked.status).toBe(1);
    expect(asked.checks.device).toMatchObject({ status: 'problem' });
    expect(asked.checks.device.found).toContain('cuda');
    expect(asked.checks.cpu).toMatchObject({ status: 'ok' });
    const override = await diagnose({ env: { FLASH_ATTENTION_DEVICE: 'cuda:3' } });
    expect(override.status).toBe(1);
    expect(override.checks.device.remedy).toContain('no silent fallback');
    expect(await diagnose({}, '--device', 'cpu')).toMatchObject({ status: 0, healthy: true });
  });

  test.each([
    ['FLASH_ATTENTION_NUM_THREADS', 'many'],
    ['FLASH_ATTENTION_NUM_THREADS', '0'],
    ['FLASH_ATTENTION_CPU_ISA', 'mmx'],
    ['FLASH_ATTENTION_DEVICE', 'gpu'],
  ])('exits with 1 for %s=%s', async (name, value) => {
    const { status, healthy, checks } = await diagnose({ env: { [name]: value } });
    expect({ status, healthy }).toEqual({ status: 1, healthy: false });
    expect(checks.device.found).toContain(value);
  });
});

describe('doctor says plainly', () => {
  test.each([
    ['a text', 'README.md'],
    ['JSON', 'package.json'],
    ['a script', 'dist/index.cjs'],
    ['a folder', 'lib'],
  ])('that FLASH_ATTENTION_ADDON names no addon but %s', async (_, name) => {
    const env = { FLASH_ATTENTION_ADDON: path.join(root, name) };
    const { status, checks } = await diagnose({ env });
    expect(status).toBe(1);
    expect(checks.loading.status).toBe('problem');
    const { binary, 'binary format': format } = checks;
    const judged = format ?? binary;
    expect(judged.status).toBe('problem');
    expect(judged.found).toMatch(/no native addon|is no file/);
    for (const check of [checks.loading, judged]) {
      expect(check.remedy).toContain('Correct FLASH_ATTENTION_ADDON or unset it.');
      expect(check.found).not.toMatch(/token|is not a function/);
    }
  });

  test('that no thread is not enough', async () => {
    const { status, checks } = await diagnose({ env: { FLASH_ATTENTION_NUM_THREADS: '0' } });
    expect(status).toBe(1);
    expect(checks.FLASH_ATTENTION_NUM_THREADS).toMatchObject({
      status: 'problem',
      found: "'0' is no number of threads",
      remedy: 'Set it to an integer from 1 to 1024, or unset it.',
    });
    expect(checks.device.found).toMatch(
      /^cpu cannot be used: .*FLASH_ATTENTION_NUM_THREADS but received '0'/,
    );
  });

  test("that Node's permission model keeps it from looking", async () => {
    const model = process.allowedNodeEnvironmentFlags.has('--permission')
      ? '--permission'
      : '--experimental-permission';
    const flags = ['--no-warnings', model, '--allow-fs-read=*'];
    const { status, stdout, stderr } = await runCli(['doctor'], {}, flags);
    expect({ status, stderr }).toEqual({ status: 1, stderr: '' });
    expect(stdout).toMatch(
      /^PROBLEM +permissions +Node's permission model is on and denies native addons, child/m,
    );
    expect(stdout).toMatch(/→ .*--allow-addons --allow-child-process/);
    const enough = [...flags, '--allow-addons', '--allow-child-process'];
    const allowed = await runCli(['doctor', '--json'], {}, enough);
    expect(allowed.status).toBe(0);
    const { checks } = JSON.parse(allowed.stdout) as Diagnosis & { checks: Check[] };
    expect(checks).toContainEqual(ok('permissions', "Node's permission model is on and allows it"));
  });
});

describe('the command on an old Node.js', () => {
  const command = readFileSync(path.join(root, 'dist/cli.js'), 'utf8');

  test.each(['18.20.4', '20.16.0', '12.22.12'])('%s is asked to be upgraded', async (version) => {
    writeFileSync(
      at('older.cjs'),
      `Object.defineProperty(process, 'versions', {
        value: { ...process.versions, node: '${version}' },
      });`,
    );
    const result = await runCli(['info'], {}, ['--require', at('older.cjs')]);
    expect(result).toEqual({
      status: 1,
      stdout: '',
      stderr:
        `flash-attention needs Node.js ${nodeFloor} or later and this is ${version}. ` +
        'Upgrade Node.js: https://nodejs.org/en/download\n',
    });
  });

  test('is a file that it can read: no import to resolve, no syntax of later years', () => {
    expect(() => new Script(command.replace(/^#!.*/, ''))).not.toThrow();
    expect(command).not.toMatch(/\?\.|\?\?|#\w+ |\bawait\b|^import /m);
    expect(command.length).toBeLessThan(2000);
  });
});

describe('the parts of doctor', () => {
  const judge = (env: NodeJS.ProcessEnv) => checkEnvironment(env);

  test('variables', () => {
    expect(judge({ PATH: '/bin', FLASH_ATTENTION_DEVICE: '' })).toEqual([
      ok('environment', 'no variable of this package is set'),
    ]);
    const states: [string, string, Check['status']][] = [
      ['FLASH_ATTENTION_DEVICE', 'cpu', 'ok'],
      ['FLASH_ATTENTION_DEVICE', 'cuda:1', 'ok'],
      ['FLASH_ATTENTION_DEVICE', 'gpu', 'problem'],
      ['FLASH_ATTENTION_NUM_THREADS', '1', 'ok'],
      ['FLASH_ATTENTION_NUM_THREADS', String(availableParallelism() + 1), 'warning'],
      ['FLASH_ATTENTION_NUM_THREADS', '-1', 'problem'],
      ['FLASH_ATTENTION_NUM_THREADS', '1025', 'problem'],
      ['FLASH_ATTENTION_CUDA_POOL_BYTES', '0', 'ok'],
      ['FLASH_ATTENTION_CUDA_POOL_BYTES', '1GB', 'problem'],
      ['FLASH_ATTENTION_CPU_ISA', 'x86-64-v2', 'note'],
      ['FLASH_ATTENTION_ADDON', root, 'note'],
      ['FLASH_ATTENTION_ADDON', at('nothing'), 'problem'],
      ['FLASH_ATTENTION_CUDA', 'auto', 'note'],
      ['FLASH_ATTENTION_CUDA', 'yes', 'warning'],
      ['FLASH_ATTENTION', '1', 'warning'],
      ['FLASH_ATTENTION_PREBUILD', 'elsewhere', 'warning'],
      ['FLASH_ATTENTION_THREADS', '4', 'warning'],
      ['FLASHATTENTION_DEVICE', 'cpu', 'warning'],
      ['PREBUILDS_ONLY', '1', 'note'],
      ['LIBC', 'musl', 'note'],
    ];
    for (const [name, value, status] of states) {
      const found = judge({ [name]: value });
      expect(found).toHaveLength(1);
      expect(found[0]).toMatchObject({ name, status });
      if (status === 'problem' || status === 'warning') expect(found[0].remedy).toMatch(/\.$/);
    }
  });

  test('runtime', () => {
    const versions = { ...process.versions };
    expect(checkRuntime(versions).status).toBe('ok');
    expect(checkRuntime({ ...versions, node: '18.20.4' })).toMatchObject({ status: 'problem' });
    expect(checkRuntime({ ...versions, node: '20.9.0' })).toMatchObject({ status: 'problem' });
    expect(checkRuntime({ ...versions, napi: '7' })).toMatchObject({ status: 'problem' });
    const bun = checkRuntime({ ...versions, bun: '1.4.0' } as NodeJS.ProcessVersions);
    expect(bun).toMatchObject({ status: 'ok' });
    expect(bun.found).toContain('in bun 1.4.0');
    const electron = { ...versions, electron: '45.0.0' } as NodeJS.ProcessVersions;
    expect(checkRuntime(electron)).toMatchObject({ status: 'note' });
  });

  test('permissions', () => {
    const granted = (...scopes: string[]) => ({ has: (scope: string) => scopes.includes(scope) });
    expect(checkPermission(undefined)).toEqual([]);
    expect(checkPermission(granted('fs.read', 'child', 'addon'), [])).toMatchObject([
      { status: 'ok' },
    ]);
    const [nothing] = checkPermission(granted(), []);
    expect(nothing.found).toMatch(/denies reading files, native addons, child processes$/);
    const [old] = checkPermission(granted('fs.read'), ['--allow-addons']);
    expect(old.found).toMatch(/denies child processes$/);
  });

  test('versions are compared number by number', () => {
    expect(compareVersions('2.9', '2.17')).toBeLessThan(0);
    expect(compareVersions('2.28', '2.28')).toBe(0);
    expect(compareVersions('2.2.5', '2.2')).toBeGreaterThan(0);
    expect(compareVersions('3', '2.40')).toBeGreaterThan(0);
  });

  test('glibc: what a binary asks for, and what happens when that is too much', () => {
    const file = at('needs.node');
    writeFileSync(file, '\x7fELF\0GLIBC_2.2.5\0GLIBC_2.17\0GLIBC_2.9\0GLIBCXX_3.4.30\0');
    expect(requiredGlibc(file)).toBe('2.17');
    writeFileSync(file, '\x7fELF\0GLIBC_2.2.5\0GLIBC_9.99\0');
    const checks = checkBinary({ path: file, kind: 'prebuilt' });
    expect(checks.map(({ name, status }) => [name, status])).toEqual([
      ['binary', 'ok'],
      ['glibc', 'problem'],
    ]);
    expect(checks[1].found).toMatch(/needs 9\.99, this system has \d/);
    writeFileSync(file, '\x7fELF without versions');
    expect(requiredGlibc(file)).toBeUndefined();
  });

  test.each([
    ["libc.so.6: version `GLIBC_2.38' not found (required by x.node)", /newer system/],
    ['x.node: failed to map segment from shared object: Operation not permitted', /noexec/],
    ['x.node: invalid ELF header', /copied/],
    ['Error loading shared library ld-linux-x86-64.so.2: No such file', /another C library/],
    ['libc.musl-x86_64.so.1: cannot open shared object file', /another C library/],
    ['Cannot load native addon because loading addons is disabled.', /--allow-addons/],
    ['Requires ffi access to "x.node", run again with the --allow-ffi flag', /--allow-ffi/],
    ['Module did not self-register', /no addon/],
    ['ASan runtime does not come first', /LD_PRELOAD/],
    ['something else', /npx flash-attention build/],
  ])('loading: %s', (error, remedy) => {
    expect(loadProblem(error)).toMatchObject({ status: 'problem', found: error });
    expect(loadProblem(error).remedy).toMatch(remedy);
  });

  test('version of the binary', () => {
    expect(checkVersion(version, 'release').status).toBe('ok');
    expect(checkVersion('0.0.1', 'release')).toMatchObject({ status: 'warning' });
    expect(checkVersion(version, 'debug+address')).toMatchObject({ status: 'warning' });
  });

  test('processor', () => {
    const v2 = 'flags\t\t: fpu cx16 popcnt sse4_1 sse4_2 ssse3\n';
    const v3 = `${v2.trim()} avx2 bmi1 bmi2 f16c fma abm movbe\n`;
    const v4 = `${v3.trim()} avx512f avx512bw avx512cd avx512dq avx512vl\n`;
    expect([v2, v3, v4, 'Features : asimd', ''].map(x86Level)).toEqual([
      'x86-64-v2',
      'x86-64-v3',
      'x86-64-v4',
      undefined,
      undefined,
    ]);
    const info = { version: '', napiVersion: 8, compiler: '', build: '', cuda: false, threads: 2 };
    const status = (isa: string, isaLevels: string[], cpuinfo: string) =>
      checkProcessor({ ...info, isa, isaLevels }, cpuinfo).at(-1)?.status;
    expect(status('x86-64-v3', ['x86-64-v3', 'x86-64-v2'], v3)).toBe('ok');
    expect(status('x86-64-v2', ['x86-64-v2'], v2)).toBe('warning');
    expect(status('x86-64-v2', ['x86-64-v2'], v3)).toBe('warning');
    expect(status('aarch64-neon', ['aarch64-neon'], '')).toBe('ok');
    expect(status('', [], v3)).toBeUndefined();
  });

  test('memory', () => {
    const gib = 1024 ** 3;
    expect(checkMemory(8 * gib, 0, '')).toEqual([ok('memory', '8.00 GiB')]);
    const unlimited = 2 ** 63;
    expect(checkMemory(8 * gib, unlimited, '')).toEqual([ok('memory', '8.00 GiB')]);
    const [group] = checkMemory(8 * gib, gib / 4, '');
    expect(group).toMatchObject({ status: 'warning' });
    expect(group.found).toBe('256 MiB allowed by the control group, of 8.00 GiB');
    const limits = 'Max address space         4294967296           unlimited            bytes\n';
    expect(checkMemory(8 * gib, 0, limits)[1].found).toContain('4.00 GiB of address space');
    const free = 'Max address space         unlimited            unlimited            bytes\n';
    expect(checkMemory(8 * gib, 0, free)).toHaveLength(1);
  });

  test('NVIDIA driver', () => {
    const line = 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n';
    writeFileSync(at('version'), line);
    expect(nvidiaDriver(at('version'))).toBe('580.65.06');
    expect(nvidiaDriver(at('no-version'))).toBeUndefined();
  });

  test('a GPU without machine code', () => {
    const known = { available: true, capability: 'sm_120', kernels: [] } as const;
    const devices = [
      { ...known, name: 'cuda:0', kernelImage: 'PTX' },
      { ...known, name: 'cuda:1', kernelImage: 'machine code' },
    ] as const;
    const [check, ...more] = checkKernelImage(devices, 'cuda:0');
    expect(check).toMatchObject({ name: 'kernels', status: 'note' });
    expect(check.found).toContain('no machine code for sm_120');
    expect(check.remedy).toContain('~/.nv/ComputeCache');
    expect([more, checkKernelImage(devices, 'cuda:1'), checkKernelImage([], 'cpu')]).toEqual([
      [],
      [],
      [],
    ]);
  });

  test('what a probe tells that ended early', () => {
    const load = JSON.stringify({ stage: 'load', info: { isa: '' } });
    expect(readProbe('', 'ended the process with SIGBUS')).toEqual({
      stages: [],
      failure: 'loading the addon ended the process with SIGBUS',
      failedStage: 'load',
    });
    expect(readProbe(`${load}\n`, 'gave no answer').failure).toBe(
      'listing the devices gave no answer',
    );
    const told = readProbe(`${load}\n${JSON.stringify({ stage: 'device', error: 'no' })}\n`, null);
    expect(told).toMatchObject({ failure: 'no', failedStage: 'device' });
    expect(judgeProbe(told).map(({ name, status }) => [name, status])).toContainEqual([
      'device',
      'problem',
    ]);
  });

  test('the verdict counts', () => {
    const bad = problem('a', 'broken', 'Mend it.');
    const odd = warning('b', 'strange', 'Look.');
    expect(showChecks([ok('c', 'fine')])).toContain('Everything works.');
    expect(showChecks([odd, note('d', 'so it is')])).toContain('Everything works (1 warning).');
    const shown = showChecks([bad, bad, odd, odd]);
    expect(shown).toContain('2 problems found (2 warnings).');
    expect(shown).toMatch(/^PROBLEM {2}a {2}broken\n {12}→ Mend it\.$/m);
  });
});
