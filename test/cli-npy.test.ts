import { writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { dump, parse } from 'npyjs';
import { CliError } from '../lib/cli/cli-error.js';
import { withFile, writeFileOf } from '../lib/cli/files.js';
import type { FloatDType, HostTensor } from '../lib/cli/host-tensor.js';
import { npyParts, readNpy } from '../lib/cli/npy.js';
import { scratchFolder } from './support/cli.js';

const { folder, done } = scratchFolder();
afterAll(done);

const file = path.join(folder, 'x.npy');

function read(contents: Uint8Array, bits?: FloatDType): Promise<HostTensor> {
  writeFileSync(file, contents);
  return withFile(file, (opened) => readNpy(opened, bits));
}

/** A .npy file, its parts as they come. */
function npy(header: string, data: Uint8Array, version = 1): Buffer {
  const text = Buffer.from(`${header}\n`, 'latin1');
  const length = Buffer.alloc(version === 1 ? 2 : 4);
  if (version === 1) length.writeUInt16LE(text.length);
  else length.writeUInt32LE(text.length);
  const magic = Buffer.from('\x93NUMPY', 'latin1');
  return Buffer.concat([magic, Buffer.from([version, 0]), length, text, data]);
}

const bytesOf = (array: Float32Array | Uint16Array) => new Uint8Array(array.buffer);
const dictionary = (descr: string, shape: string, fortran = 'False') =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }`;

const everyUint16 = Uint16Array.from({ length: 65536 }, (_, i) => i);
const floats = Float32Array.of(0, -0, 1.5, -2.25, Infinity, -Infinity, Number.NaN, 1e-45);

describe('reading .npy', () => {
  test('takes what npyjs writes', async () => {
    const f32 = await read(new Uint8Array(dump(floats, [2, 4])));
    expect(f32).toEqual({ dtype: 'float32', shape: [2, 4], data: floats });
    const f16 = await read(new Uint8Array(dump(everyUint16, [256, 256], { dtype: 'f2' })));
    expect(f16).toEqual({ dtype: 'float16', shape: [256, 256], data: everyUint16 });
  });

  test.each([1, 2, 3])('knows version %i of the format', async (version) => {
    const contents = npy(dictionary('<f4', '(8,)'), bytesOf(floats), version);
    expect(await read(contents)).toEqual({ dtype: 'float32', shape: [8], data: floats });
  });

  test.each(['<V2', '|V2'])(
    'takes %s, which NumPy makes of bfloat16, for bfloat16',
    async (descr) => {
      const contents = npy(dictionary(descr, '(2, 32768)'), bytesOf(everyUint16));
      const expected = { dtype: 'bfloat16', shape: [2, 32768], data: everyUint16 };
      expect(await read(contents)).toEqual(expected);
    },
  );

  test.each(['<u2', '<i2'])('takes %s for the type it is told', async (descr) => {
    const contents = npy(dictionary(descr, '(65536,)'), bytesOf(everyUint16));
    expect((await read(contents, 'bfloat16')).dtype).toBe('bfloat16');
    expect((await read(contents, 'float16')).dtype).toBe('float16');
    await expect(read(contents)).rejects.toThrow(/16-bit integers.*--dtype bfloat16/);
    await expect(read(contents, 'float32')).rejects.toThrow(CliError);
  });

  test('swaps big-endian elements', async () => {
    const swapped = Buffer.from(bytesOf(floats).slice()).swap32();
    expect((await read(npy(dictionary('>f4', '(8,)'), swapped))).data).toEqual(floats);
    const swapped16 = Buffer.from(bytesOf(everyUint16).slice()).swap16();
    expect((await read(npy(dictionary('>f2', '(65536,)'), swapped16))).data).toEqual(everyUint16);
  });

  test('does not mind headers as other writers make them', async () => {
    const odd = '{"shape":(2L,4L),"fortran_order":False,"descr":"<f4"}'; // not aligned either
    expect((await read(npy(odd, bytesOf(floats)))).shape).toEqual([2, 4]);
    const empty = await read(npy(dictionary('<f4', '(0, 4)'), new Uint8Array()));
    expect(empty).toEqual({ dtype: 'float32', shape: [0, 4], data: new Float32Array() });
    const scalar = await read(npy(dictionary('<f4', '()'), bytesOf(Float32Array.of(7))));
    expect(scalar).toMatchObject({ shape: [], data: Float32Array.of(7) });
  });

  test('takes Fortran order where it is no other', async () => {
    const flat = npy(dictionary('<f4', '(1, 8, 1)', 'True'), bytesOf(floats));
    expect((await read(flat)).data).toEqual(floats);
    const square = npy(dictionary('<f4', '(2, 4)', 'True'), bytesOf(floats));
    await expect(read(square)).rejects.toThrow(/Fortran order.*np\.ascontiguousarray/);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ['an empty file', new Uint8Array(), /not a \.npy file/],
    ['another file', Buffer.from('PK\x03\x04 a zip archive'), /not a \.npy file/],
    ['the magic alone', Buffer.from('\x93NUMPY\x01\x00', 'latin1'), /ends within its header/],
    ['a version of the future', npy('{}', bytesOf(floats), 9), /version 9/],
    [
      'a header past the end',
      npy(dictionary('<f4', '(8,)'), new Uint8Array()).subarray(0, 40),
      /header of \d+ bytes/,
    ],
    ['no dictionary', npy('hello, hello', bytesOf(floats)), /malformed: hello/],
    ['no shape', npy("{'descr': '<f4', 'fortran_order': False}", bytesOf(floats)), /malformed/],
    ['a negative length', npy(dictionary('<f4', '(-8,)'), bytesOf(floats)), /malformed/],
    [
      'data cut short',
      npy(dictionary('<f4', '(9,)'), bytesOf(floats)),
      /\[9\] of float32 takes 36 bytes but 32/,
    ],
    ['data left over', npy(dictionary('<f4', '(7,)'), bytesOf(floats)), /takes 28 bytes but 32/],
    [
      'an absurd shape',
      npy(dictionary('<f4', '(99999999999, 99999999999)'), bytesOf(floats)),
      /takes/,
    ],
    ['float64', npy(dictionary('<f8', '(4,)'), bytesOf(floats)), /float64.*astype\(np\.float32\)/],
    ['int64', npy(dictionary('<i8', '(4,)'), bytesOf(floats)), /'<i8'; expected float32/],
    ['objects', npy(dictionary('|O', '(4,)'), bytesOf(floats)), /'\|O'/],
    [
      'records',
      npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (8,)}", bytesOf(floats)),
      /records/,
    ],
  ])('refuses %s', async (_, contents, message) => {
    const failure = read(contents);
    await expect(failure).rejects.toThrow(CliError);
    await expect(failure).rejects.toThrow(message);
    await expect(failure).rejects.toThrow(file);
  });

  test('gives an array or a message for whatever bytes', async () => {
    const good = npy(dictionary('<f4', '(8,)'), bytesOf(floats));
    const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1 });
    await fc.assert(
      fc.asyncProperty(edits, fc.nat(good.length), async (changes, length) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        const outcome = await read(bytes.subarray(0, length)).catch((error: unknown) => error);
        if (outcome instanceof Error) expect(outcome).toBeInstanceOf(CliError);
        else expect(outcome).toHaveProperty('data');
      }),
      { numRuns: 300 },
    );
  });

  test('names the file that cannot be opened', async () => {
    const missing = path.join(folder, 'missing.npy');
    const use = () => withFile(missing, (opened) => readNpy(opened));
    await expect(use()).rejects.toThrow(`${missing}: no such file`);
    await expect(withFile(folder, (opened) => readNpy(opened))).rejects.toThrow(/is a folder/);
  });
});

/** The file as one buffer. */
function written(tensor: HostTensor): ArrayBuffer {
  const views = npyParts(tensor).map((p) => new Uint8Array(p.buffer, p.byteOffset, p.byteLength));
  return new Uint8Array(Buffer.concat(views)).buffer;
}

describe('writing .npy', () => {
  test.each<FloatDType>(['float32', 'float16', 'bfloat16'])(
    '%s comes back as it was',
    async (dtype) => {
      const data = dtype === 'float32' ? floats : everyUint16;
      const tensor = { dtype, shape: [2, data.length / 2], data };
      await writeFileOf(file, npyParts(tensor));
      expect(await withFile(file, (opened) => readNpy(opened))).toEqual(tensor);
    },
  );

  test.each([[[8]], [[2, 4]], [[2, 1, 2, 2]]])('npyjs reads shape %p', (shape) => {
    const contents = written({ dtype: 'float32', shape, data: floats });
    expect((contents.byteLength - floats.byteLength) % 64).toBe(0);
    expect(parse(contents)).toEqual({ data: floats, shape, dtype: 'f4', fortranOrder: false });
  });

  test('npyjs reads float16', () => {
    const data = Uint16Array.of(0x3c00, 0xc000, 0x7c00);
    const parsed = parse(written({ dtype: 'float16', shape: [3], data }));
    expect([...(parsed.data as Float32Array)]).toEqual([1, -2, Infinity]);
  });

  test('tells where it cannot write', async () => {
    const nowhere = path.join(folder, 'no', 'such', 'x.npy');
    const parts = npyParts({ dtype: 'float32', shape: [8], data: floats });
    await expect(writeFileOf(nowhere, parts)).rejects.toThrow(`${nowhere}: no such file`);
  });
});
