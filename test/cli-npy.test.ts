import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { jest } from '@jest/globals';
import fc from 'fast-check';
import { dump, parse } from 'npyjs';
import { CliError } from '../lib/cli/cli-error.js';
import { withFile } from '../lib/cli/files.js';
import type { FloatDType, HostTensor } from '../lib/tensor/host-tensor.js';
import { npyParts, readNpy } from '../lib/cli/npy.js';
import { writeFileOf } from '../lib/cli/write-file.js';
import { scratchFolder } from './support/cli.js';

const { folder, done } = scratchFolder();
afterAll(done);

const file = path.join(folder, 'x.npy');

function read(
  contents: Uint8Array,
  bits?: FloatDType,
  note?: (text: string) => void,
): Promise<HostTensor> {
  writeFileSync(file, contents);
  return withFile(file, (opened) => readNpy(opened, bits, note));
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

  test('takes Fortran order, and says so where it is another', async () => {
    const notes: string[] = [];
    const note = (text: string) => notes.push(text);
    const flat = npy(dictionary('<f4', '(1, 8, 1)', 'True'), bytesOf(floats));
    expect((await read(flat, undefined, note)).data).toEqual(floats);
    expect(notes).toEqual([]);
    const square = npy(dictionary('<f4', '(2, 4)', 'True'), bytesOf(floats));
    const turned = await read(square, undefined, note);
    expect(turned.shape).toEqual([2, 4]);
    expect(turned.data).toEqual(Float32Array.from([0, 2, 4, 6, 1, 3, 5, 7], (i) => floats[i]));
    expect(notes).toEqual([`${file}: in Fortran order, converted to row-major order`]);
    const cube = Uint16Array.from({ length: 24 }, (_, i) => i);
    const bits = npy(dictionary('<f2', '(2, 3, 4)', 'True'), bytesOf(cube));
    const expected: number[] = [];
    for (let i = 0; i < 2; i++)
      for (let j = 0; j < 3; j++) for (let k = 0; k < 4; k++) expected.push(i + 2 * (j + 3 * k));
    expect((await read(bits)).data).toEqual(Uint16Array.from(expected));
  });

  test.each([
    ['<f8', 'LE'],
    ['>f8', 'BE'],
  ])('takes float64 (%s) as float32, and says so', async (descr, order) => {
    const notes: string[] = [];
    const values = [...floats, 0.1, 1e300, 2 ** -150];
    const bytes = new DataView(new ArrayBuffer(8 * values.length));
    values.forEach((value, i) => {
      bytes.setFloat64(8 * i, value, order === 'LE');
    });
    const contents = npy(dictionary(descr, '(11,)'), new Uint8Array(bytes.buffer));
    const tensor = await read(contents, undefined, (text) => notes.push(text));
    expect(tensor).toEqual({ dtype: 'float32', shape: [11], data: Float32Array.from(values) });
    expect(notes).toEqual([`${file}: float64, converted to float32`]);
    const turned = npy(dictionary(descr, '(11, 1)', 'True'), new Uint8Array(bytes.buffer));
    expect((await read(turned)).shape).toEqual([11, 1]);
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
    [
      'float64 cut short',
      npy(dictionary('<f8', '(5,)'), bytesOf(floats)),
      /\[5\] of float64 takes 40 bytes but 32/,
    ],
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

  test('replaces a file as a whole, or leaves it and nothing else', async () => {
    const place = path.join(folder, 'place');
    mkdirSync(place);
    const target = path.join(place, 'x.npy');
    writeFileSync(target, 'old', { mode: 0o640 });
    symlinkSync('x.npy', path.join(place, 'link.npy'));
    const good = npyParts({ dtype: 'float32', shape: [8], data: floats });
    // A part that claims more than it has, as a disk that is full ends a write.
    const bad = { byteLength: 8, byteOffset: 0, buffer: new ArrayBuffer(4) } as ArrayBufferView;
    await expect(writeFileOf(target, [...good, bad])).rejects.toThrow(CliError);
    expect(readFileSync(target, 'utf8')).toBe('old');
    expect(readdirSync(place).sort()).toEqual(['link.npy', 'x.npy']);
    await writeFileOf(path.join(place, 'link.npy'), good);
    expect(lstatSync(path.join(place, 'link.npy')).isSymbolicLink()).toBe(true);
    expect((await withFile(target, (opened) => readNpy(opened))).data).toEqual(floats);
    expect(statSync(target).mode & 0o777).toBe(0o640);
    expect(readdirSync(place).sort()).toEqual(['link.npy', 'x.npy']);
  });

  test('a signal takes the beginnings of a file along', async () => {
    const place = path.join(folder, 'signal');
    mkdirSync(place);
    const kill = jest.spyOn(process, 'kill').mockReturnValue(true);
    let during: string[] = [];
    const part = {
      byteLength: 4,
      byteOffset: 0,
      get buffer() {
        during = readdirSync(place);
        process.emit('SIGTERM', 'SIGTERM');
        return new ArrayBuffer(4);
      },
    } as ArrayBufferView;
    await expect(writeFileOf(path.join(place, 'x.npy'), [part])).rejects.toThrow(CliError);
    expect(during).toHaveLength(1);
    expect(readdirSync(place)).toEqual([]);
    expect(kill).toHaveBeenCalledWith(process.pid, 'SIGTERM');
    expect(process.listenerCount('SIGTERM')).toBe(0);
    kill.mockRestore();
  });

  test('tells where it cannot write', async () => {
    const nowhere = path.join(folder, 'no', 'such', 'x.npy');
    const parts = npyParts({ dtype: 'float32', shape: [8], data: floats });
    await expect(writeFileOf(nowhere, parts)).rejects.toThrow(`${nowhere}: no such file`);
  });
});
