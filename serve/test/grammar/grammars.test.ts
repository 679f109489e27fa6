import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import type { ResponseFormat } from '../../src/engine/contract.js';
import { Grammars } from '../../src/grammar/grammars.js';
import { loadModelText } from '../../src/model/model-text.js';
import type { Constraint } from '../../src/scheduler/constraint.js';
import type { Vocabulary } from '../../src/text/contract.js';
import { specialIds } from '../models/tokenizer.js';
import { variants, writeTestModel } from '../models/index.js';

const module = new URL('../../dist/grammar/thread.js', import.meta.url);
const vocabSize = variants.llama.vocab;
const eosTokenIds = [specialIds.imEnd, specialIds.endOfText];

let folder: string;
let vocabulary: Vocabulary;
let grammars: Grammars;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'serve-grammars-'));
  writeTestModel(folder, 'llama');
  ({ vocabulary } = await loadModelText(folder));
  grammars = new Grammars({ folder, vocabSize, eosTokenIds }, 60_000, module);
});
afterAll(async () => {
  await grammars.close();
  rmSync(folder, { recursive: true });
});

function allowed({ mask }: Constraint): number[] {
  return Array.from({ length: vocabSize }, (_, id) => id).filter(
    (id) => mask !== undefined && (mask[id >> 5] >>> (id & 31)) & 1,
  );
}

const json: ResponseFormat = { type: 'json_object' };

/** Draws allowed tokens, those that `prefer` says while it can, and returns the text. */
async function write(
  constraint: Constraint,
  most: number,
  choose: (tokens: number[], step: number) => number,
): Promise<string> {
  const bytes: number[] = [];
  for (let step = 0; step < most && !constraint.complete; step++) {
    const token = choose(allowed(constraint), step);
    bytes.push(...vocabulary.bytes(token));
    constraint.accept(token);
    await constraint.settled();
    expect(constraint.failure).toBeUndefined();
  }
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

/** Feeds a text byte by byte. */
async function accepts(constraint: Constraint, text: string): Promise<boolean> {
  for (const byte of new TextEncoder().encode(text)) {
    const token = allowed(constraint).find((id) => {
      const bytes = vocabulary.bytes(id);
      return bytes.length === 1 && bytes[0] === byte;
    });
    if (token === undefined) return false;
    constraint.accept(token);
    await constraint.settled();
  }
  return constraint.complete;
}

test('json_object: objects, whole ones, and nothing else', async () => {
  const accepted = async (text: string) => {
    const constraint = await grammars.constrain(json);
    const result = await accepts(constraint, text);
    constraint.dispose();
    return result;
  };
  expect(await accepted('{}')).toBe(true);
  expect(await accepted('{"a": [1, -2.5e3, true, null], "ß": {"c": "\\u00e9 é"}}')).toBe(true);
  expect(await accepted('{"a": 1')).toBe(false);
  expect(await accepted('[1]')).toBe(false);
  expect(await accepted('{"a": 01}')).toBe(false);
  expect(await accepted('{} ')).toBe(false);
});

test('whatever a model draws, an answer that is complete is JSON', async () => {
  await fc.assert(
    fc.asyncProperty(fc.infiniteStream(fc.nat()), async (numbers) => {
      const constraint = await grammars.constrain(json);
      const text = await write(constraint, 400, (tokens, step) => {
        const closing = tokens.find((id) => ['}', ']', '"'].includes(text8(id)));
        const random = numbers.next().value as number;
        return step > 20 && closing !== undefined ? closing : tokens[random % tokens.length];
      });
      if (constraint.complete) expect(typeof JSON.parse(text)).toBe('object');
      constraint.dispose();
    }),
    { numRuns: 20 },
  );
});

const text8 = (id: number) => String.fromCharCode(...vocabulary.bytes(id));

test('a schema: what it requires, and nothing it does not name', async () => {
  const schema = {
    type: 'object',
    properties: { name: { type: 'string' }, age: { type: 'integer' } },
    required: ['name', 'age'],
  };
  const accepted = async (text: string) =>
    accepts(await grammars.constrain({ type: 'json_schema', schema }), text);
  expect(await accepted('{"name": "Bo", "age": 7}')).toBe(true);
  expect(await accepted('{"name": "Bo"}')).toBe(false);
  expect(await accepted('{"name": "Bo", "age": "x"}')).toBe(false);
  expect(await accepted('{"name": "Bo", "age": 7, "b": 1}')).toBe(false);
});

test('a pattern that makes backtracking take for ever is read without', async () => {
  const schema = { type: 'string', pattern: '^(a+)+$' };
  const accepted = async (text: string) =>
    accepts(await grammars.constrain({ type: 'json_schema', schema }), text);
  expect(await accepted(`"${'a'.repeat(60)}"`)).toBe(true);
  expect(await accepted(`"${'a'.repeat(60)}b"`)).toBe(false);
});

test('after the top value nothing can follow but an end', async () => {
  const constraint = await grammars.constrain({
    type: 'json_schema',
    schema: { type: 'boolean' },
  });
  expect(await accepts(constraint, 'true')).toBe(true);
  expect(allowed(constraint).sort()).toEqual([...eosTokenIds].sort());
  const number = await grammars.constrain({ type: 'json_schema', schema: { type: 'integer' } });
  expect(await accepts(number, '12')).toBe(false); // another digit may come
  expect(allowed(number)).toEqual(expect.arrayContaining(eosTokenIds));
  number.accept(eosTokenIds[0]);
  await number.settled();
  expect(number.complete).toBe(true);
});

test('a model that loves white space does not write it for ever', async () => {
  const constraint = await grammars.constrain(json);
  const isSpace = (id: number) => vocabulary.bytes(id).length > 0 && /^\s+$/.test(text8(id));
  const text = await write(constraint, 300, (tokens) => tokens.find(isSpace) ?? tokens[0]);
  const longest = Math.max(...Array.from(text.matchAll(/\s+/g), ([run]) => run.length));
  expect(longest).toBeGreaterThanOrEqual(64);
  expect(longest).toBeLessThan(80);
});

test('control tokens are never allowed but at the end', async () => {
  const constraint = await grammars.constrain(json);
  expect(allowed(constraint)).not.toEqual(expect.arrayContaining([specialIds.imStart]));
  expect(await accepts(constraint, '{"a": "')).toBe(false);
  for (const id of Object.values(specialIds)) expect(allowed(constraint)).not.toContain(id);
});

test.each<[unknown, string]>([
  [{ type: 'nonsense' }, 'Unsupported type "nonsense"'],
  [{ $ref: '#/nowhere' }, 'nowhere'],
  [{ type: 'string', pattern: '(a' }, 'parenthesis is not closed'],
  [7, 'Expected the schema to be an object.'],
  [{ description: 'x'.repeat(70_000) }, 'at most 65536 characters'],
])('a schema that is none is refused with the reason: %#', async (schema, reason) => {
  const constraint = await grammars.constrain(json);
  await expect(grammars.constrain({ type: 'json_schema', schema })).rejects.toMatchObject({
    code: 'invalid_request',
    message: expect.stringContaining(reason),
  });
  expect(await accepts(constraint, '{"still": "here"}')).toBe(true);
});

test('a schema that takes too long fails alone: the others go on where they were', async () => {
  const hasty = new Grammars({ folder, vocabSize, eosTokenIds }, 5000, module);
  const constraint = await hasty.constrain(json);
  expect(await accepts(constraint, '{"a": "be')).toBe(false);
  const names = Array.from({ length: 2500 }, (_, i) => [`p${i}`, { type: 'number' }]);
  const schema = { type: 'object', properties: Object.fromEntries(names) };
  await expect(hasty.constrain({ type: 'json_schema', schema })).rejects.toMatchObject({
    code: 'invalid_request',
    message: 'The grammar takes more than 5 s to compute.',
  });
  await constraint.settled();
  expect(await accepts(constraint, 'fore"}')).toBe(true);
  await hasty.close();
});

test('a tokenizer that is not known: formats are refused, with the reason', async () => {
  const broken = new Grammars({ folder: `${folder}/none`, vocabSize, eosTokenIds }, 10_000, module);
  await expect(broken.constrain(json)).rejects.toMatchObject({
    code: 'invalid_request',
    message: expect.stringContaining('tokenizer.json'),
  });
  await broken.close();
});

test('a grammar goes on behind tokens that another engine has drawn', async () => {
  const text = [...new TextEncoder().encode('{"a": [1, {"b')];
  const ids = text.map((byte) => {
    for (let id = 0; id < vocabSize; id++) {
      const bytes = vocabulary.bytes(id);
      if (bytes.length === 1 && bytes[0] === byte) return id;
    }
    throw new Error(`no token is the byte ${byte}`);
  });
  const whole = await grammars.constrain(json);
  for (const id of ids) {
    whole.accept(id);
    await whole.settled();
  }
  const later = await grammars.constrain(json, Int32Array.from(ids));
  expect(allowed(later)).toEqual(allowed(whole));
  expect(allowed(later).length).toBeGreaterThan(0);
  for (const constraint of [whole, later]) constraint.dispose();
});
