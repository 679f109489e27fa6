import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { CliError } from '../lib/cli/cli-error.js';
import { withFile } from '../lib/cli/files.js';
import type { HostTensor } from '../lib/tensor/host-tensor.js';
import { openSafetensors } from '../lib/cli/safetensors.js';
import { safetensorsParts } from '../lib/tensor/safetensors.js';
import { writeFileOf } from '../lib/cli/write-file.js';
import { scratchFolder } from './support/cli.js';

const { folder, done } = scratchFolder();
afterAll(done);

const file = path.join(folder, 'x.safetensors');

function readFrom(contents: Uint8Array, name = 'q'): Promise<HostTensor> {
  writeFileSync(file, contents);
  return withFile(file, async (opened) => (await openSafetensors(opened))(name));
}

function safetensors(header: unknown, data: Uint8Array): Buffer {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
}

const floats = Float32Array.of(0, -0, 1.5, Infinity, Number.NaN, 1e-45);
const bytes = new Uint8Array(floats.buffer);
const entry = { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] };

describe('reading safetensors', () => {
  test('finds tensors of each type wherever they lie', async () => {
    const bits = Uint8Array.of(1, 2, 3, 4, 5, 6);
    const contents = safetensors(
      {
        __metadata__: { format: 'pt' },
        v: { dtype: 'F16', shape: [3], data_offsets: [0, 6] },
        k: { dtype: 'BF16', shape: [1, 3], data_offsets: [30, 36] },
        q: { dtype: 'F32', shape: [2, 3], data_offsets: [6, 30] }, // at no multiple of 4
        none: { dtype: 'F32', shape: [0, 3], data_offsets: [36, 36] },
      },
      Buffer.concat([bits, bytes, bits]),
    );
    const data = Uint16Array.of(0x0201, 0x0403, 0x0605);
    expect(await readFrom(contents)).toEqual({ dtype: 'float32', shape: [2, 3], data: floats });
    expect(await readFrom(contents, 'k')).toEqual({ dtype: 'bfloat16', shape: [1, 3], data });
    expect(await readFrom(contents, 'v')).toEqual({ dtype: 'float16', shape: [3], data });
    expect((await readFrom(contents, 'none')).data).toHaveLength(0);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ['an empty file', new Uint8Array(), /not a safetensors file: too short/],
    [
      'a text file',
      Buffer.from('These are no tensors.'),
      /not a safetensors file, or is truncated/,
    ],
    ['a header cut short', safetensors({ q: entry }, bytes).subarray(0, 30), /truncated/],
    ['a header that is no JSON', safetensors('{"q": ', bytes), /no JSON/],
    ['a header that is no object', safetensors([1], bytes), /no JSON object/],
    ['a header of null', safetensors('null', bytes), /no JSON object/],
    [
      'a missing tensor',
      safetensors({ a: entry, b: entry }, bytes),
      /'q' is not there\. There is: a, b\. --q-name/,
    ],
    ['no tensors at all', safetensors({ __metadata__: {} }, bytes), /There is: none/],
    ['a tensor without a description', safetensors({ q: null }, bytes), /described wrongly/],
    [
      'a tensor without offsets',
      safetensors({ q: { dtype: 'F32', shape: [6] } }, bytes),
      /described wrongly/,
    ],
    [
      'a negative length',
      safetensors({ q: { ...entry, shape: [-2, -3] } }, bytes),
      /described wrongly/,
    ],
    [
      'a length that is no integer',
      safetensors({ q: { ...entry, shape: [1.5, 4] } }, bytes),
      /described wrongly/,
    ],
    [
      'offsets past the end',
      safetensors({ q: { ...entry, data_offsets: [8, 32] } }, bytes),
      /\[8, 32\], outside the 24 bytes/,
    ],
    [
      'offsets that go backwards',
      safetensors({ q: { ...entry, data_offsets: [24, 0] } }, bytes),
      /outside/,
    ],
    ['one offset', safetensors({ q: { ...entry, data_offsets: [24] } }, bytes), /outside/],
    [
      'three offsets',
      safetensors({ q: { ...entry, data_offsets: [0, 24, 24] } }, bytes),
      /outside/,
    ],
    [
      'a shape larger than its data',
      safetensors({ q: { ...entry, shape: [3, 3] } }, bytes),
      /takes 36 bytes but has 24/,
    ],
    [
      'a shape smaller than its data',
      safetensors({ q: { ...entry, shape: [3] } }, bytes),
      /takes 12 bytes but has 24/,
    ],
    ['data cut short', safetensors({ q: entry }, bytes.subarray(0, 20)), /outside the 20 bytes/],
    [
      'float64',
      safetensors({ q: { dtype: 'F64', shape: [3], data_offsets: [0, 24] } }, bytes),
      /type F64; expected F32, F16 or BF16/,
    ],
    [
      'a type named like a property',
      safetensors({ q: { ...entry, dtype: 'toString' } }, bytes),
      /type toString/,
    ],
  ])('refuses %s', async (_, contents, message) => {
    const failure = readFrom(contents);
    await expect(failure).rejects.toThrow(CliError);
    await expect(failure).rejects.toThrow(message);
    await expect(failure).rejects.toThrow(file);
  });

  test.each(['__metadata__', '__proto__', 'toString'])('takes %s for no tensor', async (name) => {
    await expect(readFrom(safetensors({ q: entry }, bytes), name)).rejects.toThrow(/is not there/);
  });

  test('lists some of many tensors', async () => {
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`layer.${i}`, entry]));
    await expect(readFrom(safetensors(many, bytes))).rejects.toThrow(/layer\.11, … \(300 in all\)/);
  });

  test('gives a tensor or a message for whatever bytes', async () => {
    const good = safetensors({ q: entry }, bytes);
    const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1 });
    await fc.assert(
      fc.asyncProperty(edits, fc.nat(good.length), async (changes, length) => {
        const changed = Buffer.from(good);
        for (const [at, value] of changes) changed[at] = value;
        const outcome = await readFrom(changed.subarray(0, length)).catch(
          (error: unknown) => error,
        );
        if (outcome instanceof Error) expect(outcome).toBeInstanceOf(CliError);
        else expect(outcome).toHaveProperty('data');
      }),
      { numRuns: 300 },
    );
  });
});

describe('writing safetensors', () => {
  test('tensors come back as they were, aligned for their type', async () => {
    const half: HostTensor = { dtype: 'bfloat16', shape: [3], data: Uint16Array.of(1, 2, 3) };
    const lse: HostTensor = { dtype: 'float32', shape: [2, 3], data: floats };
    const third: HostTensor = { dtype: 'float16', shape: [1, 2], data: Uint16Array.of(4, 5) };
    await writeFileOf(file, safetensorsParts({ out: half, lse, third }));
    const tensors = await withFile(file, async (opened) => {
      const read = await openSafetensors(opened);
      return [await read('out'), await read('lse'), await read('third')];
    });
    expect(tensors).toEqual([half, lse, third]);

    const contents = readFileSync(file);
    const headerBytes = Number(contents.readBigUInt64LE(0));
    expect(headerBytes % 8).toBe(0);
    const header = JSON.parse(contents.toString('utf8', 8, 8 + headerBytes));
    expect(header.lse.data_offsets[0] % 4).toBe(0);
    expect(contents.length).toBe(8 + headerBytes + 24 + 6 + 4);
  });
});
