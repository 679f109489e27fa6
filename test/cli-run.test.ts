// `flash-attention run`, the built command in processes of its own.
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { jest } from '@jest/globals';
import { withFile } from '../lib/cli/files.js';
import { type FloatDType, floatDTypes, type HostTensor } from '../lib/tensor/host-tensor.js';
import { npyParts, readNpy } from '../lib/cli/npy.js';
import type { RunReport } from '../lib/cli/run-report.js';
import { openSafetensors } from '../lib/cli/safetensors.js';
import { safetensorsParts } from '../lib/tensor/safetensors.js';
import { writeFileOf } from '../lib/cli/write-file.js';
import {
  fromBfloat16Array,
  fromFloat16Array,
  type ReferenceOptions,
  standardAttention,
  toBfloat16Array,
  toFloat16Array,
} from '../lib/reference/index.js';
import { fakeAddon, root, runCli, scratchFolder } from './support/cli.js';

// Every test starts processes, on machines that may be busy.
jest.setTimeout(120_000);

const { folder, done } = scratchFolder();
afterAll(done);
const at = (name: string) => path.join(folder, name);

const shape = { batch: 2, seqlenQ: 19, seqlenK: 40, heads: 4, kvHeads: 2, headDim: 16 };
const shapes = { q: [2, 19, 4, 16], k: [2, 40, 2, 16], v: [2, 40, 2, 16] };

function noise(length: number, seed: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => 2 * Math.sin(seed + 1.7 * i + 0.01 * i * i));
}

function encode(data: Float32Array, dtype: FloatDType): Float32Array | Uint16Array {
  if (dtype === 'float32') return data;
  return dtype === 'float16' ? toFloat16Array(data) : toBfloat16Array(data);
}

function decode({ data, dtype }: HostTensor): Float32Array {
  if (data instanceof Float32Array) return data;
  return Float32Array.from(dtype === 'float16' ? fromFloat16Array(data) : fromBfloat16Array(data));
}

function host(name: 'q' | 'k' | 'v', dtype: FloatDType): HostTensor {
  const length = shapes[name].reduce((product, n) => product * n, 1);
  return { dtype, shape: shapes[name], data: encode(noise(length, name.charCodeAt(0)), dtype) };
}

const inputs = (dtype: FloatDType) => ({
  q: host('q', dtype),
  k: host('k', dtype),
  v: host('v', dtype),
});

/** The axes 1 and 2 exchanged: bshd as bhsd and the other way round. */
function swapAxes({ dtype, shape: [a, b, c, d], data }: HostTensor): HostTensor {
  const swapped = data.slice();
  for (let i = 0; i < a * b * c; i++) {
    const [x, y, z] = [Math.floor(i / (b * c)), Math.floor(i / c) % b, i % c];
    swapped.set(data.subarray(i * d, (i + 1) * d), ((x * c + z) * b + y) * d);
  }
  return { dtype, shape: [a, c, b, d], data: swapped };
}

async function writeNpy(
  name: string,
  tensors: Readonly<Record<'q' | 'k' | 'v', HostTensor>>,
): Promise<string[]> {
  const paths = (['q', 'k', 'v'] as const).map(
    (each) => [each, at(`${name}.${each}.npy`)] as const,
  );
  for (const [each, file] of paths) await writeFileOf(file, npyParts(tensors[each]));
  return paths.map(([, file]) => file);
}

const readBack = (name: string) => withFile(at(name), (file) => readNpy(file));

const readTensor = (file: string, name: string) =>
  withFile(at(file), async (opened) => (await openSafetensors(opened))(name));

function exact(dtype: FloatDType, options: ReferenceOptions) {
  const { q, k, v } = inputs(dtype);
  return standardAttention({ shape, q: decode(q), k: decode(k), v: decode(v), ...options });
}

function expectClose(actual: Float32Array, expected: Float64Array, tolerance: number): void {
  expect(actual).toHaveLength(expected.length);
  const worst = expected.reduce((most, x, i) => Math.max(most, Math.abs(x - actual[i])), 0);
  expect(worst).toBeLessThan(tolerance);
}

const tolerance = { float32: 1e-5, float16: 2e-3, bfloat16: 2e-2 } as const;

describe('run', () => {
  test.each(floatDTypes)('computes attention over .npy files of %s', async (dtype) => {
    const files = await writeNpy(dtype, inputs(dtype));
    const wanted = ['--out', at('out.npy'), '--lse', at('lse.npy')];
    const options = ['--window', '9,2', '--sink-tokens', '1', '--scale', '0.3'];
    const { status, stdout } = await runCli(['run', ...files, ...wanted, ...options, '--check']);
    expect(status).toBe(0);
    for (const label of ['device', 'plan', 'time', 'speed', 'memory', 'check', 'wrote']) {
      expect(stdout).toMatch(new RegExp(`^${label} +\\S`, 'm'));
    }
    expect(stdout).toMatch(/ok: all 19 rows/);
    const out = await readBack('out.npy');
    expect(out).toMatchObject({ dtype, shape: shapes.q });
    const lse = await readBack('lse.npy');
    expect(lse).toMatchObject({ dtype: 'float32', shape: [2, 4, 19] });
    const expected = exact(dtype, { window: [9, 2], sinkTokens: 1, scale: 0.3 });
    expectClose(decode(out), expected.out, tolerance[dtype]);
    expectClose(decode(lse), expected.lse, 1e-4);
  });

  test('reads one .safetensors file, also in the other layout', async () => {
    const { q, k, v } = inputs('bfloat16');
    await writeFileOf(at('in.safetensors'), safetensorsParts({ 'attn.q': q, k, v }));
    const turned = { q: swapAxes(q), k: swapAxes(k), v: swapAxes(v) };
    await writeFileOf(at('turned.safetensors'), safetensorsParts(turned));
    const common = ['--causal', '--check', '--out'];
    const one = [
      'run',
      at('in.safetensors'),
      '--q-name',
      'attn.q',
      ...common,
      at('o1.safetensors'),
    ];
    const two = [
      'run',
      at('turned.safetensors'),
      '--layout',
      'bhsd',
      ...common,
      at('o2.safetensors'),
    ];
    expect(await runCli(one)).toMatchObject({ status: 0 });
    expect(await runCli(two)).toMatchObject({ status: 0 });
    const out = await readTensor('o1.safetensors', 'out');
    expectClose(decode(out), exact('bfloat16', { causal: true }).out, tolerance.bfloat16);
    expect(await readTensor('o2.safetensors', 'out')).toEqual(swapAxes(out));
    const lse = await readTensor('o1.safetensors', 'lse');
    expect(lse).toMatchObject({ dtype: 'float32', shape: [2, 4, 19] });
    expect(await readTensor('o2.safetensors', 'lse')).toEqual(lse);
  });

  test('takes three axes for a batch of one, and gives three back', async () => {
    const first = ({ dtype, shape: [, ...rest], data }: HostTensor): HostTensor => {
      return { dtype, shape: rest, data: data.slice(0, data.length / 2) };
    };
    const { q, k, v } = inputs('float32');
    const files = await writeNpy('rank3', { q: first(q), k: first(k), v: first(v) });
    const wanted = ['--out', at('o3.npy'), '--lse', at('l3.npy')];
    expect(await runCli(['run', ...files, ...wanted])).toMatchObject({ status: 0 });
    const out = await readBack('o3.npy');
    expect(out.shape).toEqual([19, 4, 16]);
    expect((await readBack('l3.npy')).shape).toEqual([4, 19]);
    const expected = exact('float32', {}).out;
    expectClose(decode(out), expected.subarray(0, expected.length / 2), tolerance.float32);
  });

  test('prints JSON and nothing else on stdout', async () => {
    const files = await writeNpy('json', inputs('float32'));
    const flags = ['--causal', '--repeat', '3', '--dtype', 'float16', '--check', '--json'];
    const { status, stdout } = await runCli(['run', ...files, ...flags]);
    expect(status).toBe(0);
    const report = JSON.parse(stdout) as RunReport;
    expect(report).toMatchObject({
      device: { name: 'cpu' },
      q: { dtype: 'float16', shape: shapes.q },
      options: { causal: true, layout: 'bshd' },
      check: { ok: true, seqlenQ: 19 },
      written: [],
    });
    expect(report.seconds).toHaveLength(3);
    expect(report.plan.flops).toBeGreaterThan(0);
    expect(report.gflopPerSecond).toBeCloseTo(report.plan.flops / report.medianSeconds / 1e9);
    expect(report.peakMemoryBytes).toBeGreaterThan(report.tensorBytes);
  });

  test('a check that finds a wrong result exits with 1 and says how wrong it is', async () => {
    const files = await writeNpy('wrong', inputs('float32'));
    const addon = fakeAddon(
      folder,
      'wrong-scale',
      'module.exports = { ...real, attention: (args) => real.attention({ ...args, scale: 0.26 }) };',
    );
    const env = { FLASH_ATTENTION_ADDON: addon };
    const plain = await runCli(['run', ...files], { env });
    expect(plain).toMatchObject({ status: 0 });
    const checked = await runCli(['run', ...files, '--check'], { env });
    expect(checked.status).toBe(1);
    expect(checked.stdout).toMatch(/TOO LARGE[\s\S]*out: error \d/);
    const json = await runCli(['run', ...files, '--check', '--json'], { env });
    expect(json.status).toBe(1);
    expect(JSON.parse(json.stdout).check.ok).toBe(false);
  });
});

describe('run and files', () => {
  /** Three axes, three numbers each way apart from float32 and C order. */
  function float64Npy({ shape, data }: HostTensor): Buffer {
    const text = `{'descr': '<f8', 'fortran_order': False, 'shape': (${shape.join(', ')}), }\n`;
    const header = Buffer.from(`\x93NUMPY\x01\x00\x00\x00${text}`, 'latin1');
    header.writeUInt16LE(text.length, 8);
    return Buffer.concat([header, new Uint8Array(Float64Array.from(data).buffer)]);
  }

  test('a write that is killed half-way leaves the old file', async () => {
    const files = await writeNpy('killed', inputs('float32'));
    writeFileSync(at('precious.npy'), 'precious');
    writeFileSync(
      at('kill.cjs'),
      `const { promises } = require('node:fs');
       const { open } = promises;
       promises.open = async (...args) => {
         const handle = await open(...args);
         const write = handle.write.bind(handle);
         handle.write = async (bytes, offset, length, position) => {
           await write(bytes, offset, length >> 1, position);
           process.kill(process.pid, 'SIGKILL');
         };
         return handle;
       };
       require('node:module').syncBuiltinESMExports();`,
    );
    const command = ['run', ...files, '--out', at('precious.npy')];
    const { status } = await runCli(command, {}, ['--require', at('kill.cjs')]);
    expect(status).toBe(-1);
    expect(readFileSync(at('precious.npy'), 'utf8')).toBe('precious');
  });

  test('a file that finds no room leaves the old one, and nothing of itself', async () => {
    const files = await writeNpy('full', inputs('float32'));
    mkdirSync(at('full'));
    writeFileSync(at('full/out.npy'), 'precious');
    const command = [process.execPath, path.join(root, 'dist/cli.js'), 'run', ...files];
    const limited = ['-c', 'ulimit -f 4; exec "$@"', 'sh', ...command, '--out', at('full/out.npy')];
    const { status, stderr } = spawnSync('sh', limited);
    expect(status).toBe(1);
    expect(String(stderr)).toMatch(/^error: .*full\/out\.npy: /m);
    expect(readFileSync(at('full/out.npy'), 'utf8')).toBe('precious');
    expect(readdirSync(at('full'))).toEqual(['out.npy']);
  });

  test('bfloat16 in .npy is announced as what NumPy shows', async () => {
    const files = await writeNpy('announced', inputs('bfloat16'));
    const { stdout } = await runCli(['run', ...files, '--out', at('b16.npy'), '--json']);
    const { notes } = JSON.parse(stdout) as RunReport;
    expect(notes).toHaveLength(1);
    expect(notes[0]).toMatch(/b16\.npy: bfloat16, which NumPy shows as .*\|V2.*ml_dtypes/);
    const lseOnly = await runCli(['run', ...files, '--lse', at('l16.npy')]);
    expect(lseOnly.stdout).not.toMatch(/NumPy/);
  });

  test('float64 is converted with a note', async () => {
    const files = await writeNpy('doubles', inputs('float32'));
    writeFileSync(files[0], float64Npy(host('q', 'float32')));
    const { status, stdout } = await runCli(['run', ...files, '--out', at('o64.npy'), '--check']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^note +.*doubles\.q\.npy: float64, converted to float32$/m);
    expectClose(decode(await readBack('o64.npy')), exact('float32', {}).out, tolerance.float32);
  });

  test('- is standard input, for an array or for all of them', async () => {
    const [q, ...others] = await writeNpy('piped', inputs('float32'));
    const input = readFileSync(q);
    const one = await runCli(['run', '-', ...others, '--out', at('p1.npy')], { input });
    expect(one).toMatchObject({ status: 0, stderr: '' });
    expectClose(decode(await readBack('p1.npy')), exact('float32', {}).out, tolerance.float32);
    await writeFileOf(at('piped.safetensors'), safetensorsParts(inputs('float32')));
    const three = ['run', '-', '--out', at('p2.npy')];
    const all = await runCli(three, { input: readFileSync(at('piped.safetensors')) });
    expect(all).toMatchObject({ status: 0, stderr: '' });
    expect(await readBack('p2.npy')).toEqual(await readBack('p1.npy'));

    const cut = await runCli(['run', '-', ...others], { input: input.subarray(0, 900) });
    expect(cut).toMatchObject({ status: 1, stdout: '' });
    expect(cut.stderr).toMatch(/^error: standard input: shape .* takes \d+ bytes but \d+ are/);
    const none = await runCli(['run', '-'], { input: new Uint8Array() });
    expect(none.stderr).toMatch(/^error: standard input: is not a safetensors file: too short/);
    const twice = await runCli(['run', '-', '-', others[0]]);
    expect(twice.stderr).toMatch(/^error: - is standard input, which can be one file only/);
  });

  test('the file on standard input is an input too', async () => {
    const [q, ...others] = await writeNpy('redirected', inputs('float32'));
    const stdin = openSync(q, 'r');
    const args = [path.join(root, 'dist/cli.js'), 'run', '-', ...others, '--out', q];
    const { status, stderr } = spawnSync(process.execPath, args, {
      stdio: [stdin, 'pipe', 'pipe'],
    });
    closeSync(stdin);
    expect(status).toBe(1);
    expect(String(stderr)).toMatch(/is the file on standard input, which it would replace/);
  });
});

describe('run says what is wrong and exits with 1', () => {
  let files: string[];
  beforeAll(async () => {
    files = await writeNpy('bad', inputs('float32'));
    await writeFileOf(at('bits.npy'), npyParts(host('q', 'float16')));
    await writeFileOf(at('flat.npy'), npyParts({ ...host('q', 'float32'), shape: [38, 64] }));
    await writeFileOf(at('named.safetensors'), safetensorsParts({ query: host('q', 'float32') }));
  });

  test.each<[string, () => string[], RegExp]>([
    ['no files', () => [], /missing required argument 'files'/],
    ['two files', () => files.slice(1), /three \.npy files \(q, k, v\) or one/],
    ['one array', () => files.slice(2), /is one array; expected three/],
    ['a missing file', () => [at('nowhere.npy'), ...files.slice(1)], /nowhere\.npy: no such file/],
    [
      'safetensors among .npy',
      () => [at('named.safetensors'), ...files.slice(1)],
      /is not a \.npy file/,
    ],
    ['other names', () => [at('named.safetensors')], /'q' is not there\. There is: query/],
    [
      'two axes',
      () => [at('flat.npy'), ...files.slice(1)],
      /q is of shape \[38, 64\]; expected 4 axes/,
    ],
    ['mixed types', () => [at('bits.npy'), ...files.slice(1)], /Expected k .*float16.*float32/],
    ['files in the wrong order', () => [...files].reverse(), /Expected v to be/],
    [
      'a device that is none',
      () => [...files, '--device', 'gpu'],
      /Expected --device to be 'cpu', 'cuda'/,
    ],
    [
      'a device that is not there',
      () => [...files, '--device', 'cuda:7'],
      /Expected --device to be a usable device/,
    ],
    ['too many splits', () => [...files, '--num-splits', '1000'], /Expected --num-splits to be/],
    [
      'a result without a type',
      () => [...files, '--out', at('out')],
      /--out .*: expected a name that ends/,
    ],
    [
      'a folder that is not there',
      () => [...files, '--out', at('no/out.npy')],
      /no\/out\.npy: no such file/,
    ],
    [
      'a result in place of an input',
      () => [...files, '--out', files[1]],
      /--out .*: is the input .*, which it would replace/,
    ],
    ['an unknown option', () => [...files, '--cuasal'], /unknown option '--cuasal'/],
  ])('%s', async (_, args, message) => {
    const { status, stdout, stderr } = await runCli(['run', ...args()]);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^error: /);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  });
});
