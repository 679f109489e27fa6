'use strict';
// Drives every function of the addon from plain Node, for AddressSanitizer, UBSan and the leak
// check (scripts/asan.mjs), and on other platforms (scripts/platforms/test.mjs): attention in all
// dtypes with all options, errors, disposal, garbage, workers. Numbers are only compared with those
// of a plain computation closely enough to catch wrong memory.
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { Worker } = require('node:worker_threads');
const addon = require('../../binding.cjs').load();

const [float32, float16, bfloat16, int32, bool] = [0, 1, 2, 3, 4];
const fixtures = path.join(__dirname, '../fixtures');
const used = new Set();
/** The addon, taking note of what is called. */
const fa = new Proxy(addon, {
  get(target, name) {
    used.add(name);
    return target[name];
  },
});

let seed = 1n;
const random = (dtype, shape) => fa.randn('cpu', dtype, shape, seed++);
const ints = (values, shape = [values.length]) =>
  fa.fromData('cpu', int32, shape, Int32Array.from(values), int32);
const floats = async (tensor) => new Float32Array(await fa.read(tensor, float32));

function attend(args) {
  const [out, lse] = fa.attention({ layout: 0, returnLse: true, ...args });
  const plan = fa.plan({ layout: 0, returnLse: true, ...args });
  assert(plan.flops >= 0 && plan.workItems >= 0);
  return { out, lse };
}

function differentiate(args, { out, lse }) {
  const { shape, dtype } = fa.describe(out);
  const dOut = random(dtype, shape);
  const deterministic = seed % 2n === 0n;
  const call = { layout: 0, returnLse: true, ...args, dOut, out, lse, deterministic };
  return fa.attentionBackward(call).filter((gradient) => gradient !== null);
}

async function expectFinite(...tensors) {
  for (const tensor of tensors) {
    for (const x of await floats(tensor)) assert(Number.isFinite(x));
  }
}

/** Standard attention of a call with batch 1 and one head, from float32 inputs. */
function standard(q, k, v, dim) {
  const [rows, keys] = [q.length / dim, k.length / dim];
  const out = new Float32Array(rows * dim);
  for (let i = 0; i < rows; i++) {
    const weights = Array.from({ length: keys }, (_, j) => {
      let score = 0;
      for (let d = 0; d < dim; d++) score += q[i * dim + d] * k[j * dim + d];
      return Math.exp(score / Math.sqrt(dim));
    });
    const sum = weights.reduce((a, b) => a + b, 0);
    for (let d = 0; d < dim; d++) {
      for (let j = 0; j < keys; j++) out[i * dim + d] += (weights[j] / sum) * v[j * dim + d];
    }
  }
  return out;
}

/** What the threads did during a call. */
async function traces() {
  assert.throws(() => fa.stopTrace(), { code: 'ERR_STATE' });
  for (const wrong of [0, 1.5, 2 ** 24 + 1, 'all', undefined]) {
    assert.throws(() => fa.startTrace(wrong));
  }
  fa.startTrace(1000);
  assert.throws(() => fa.startTrace(1000), { code: 'ERR_STATE' });
  const [q, k, v] = [0, 1, 2].map(() => random(float32, [1, 300, 4, 64]));
  const { out } = attend({ q, k, v });
  await fa.read(out, float32);
  const { threads, loops, events, dropped, duration } = fa.stopTrace();
  const numbers = new Float64Array(events);
  assert(threads.length > 0 && dropped === 0 && duration > 0);
  assert.equal(
    numbers.length / 5,
    loops.reduce((sum, { items }) => sum + items, 0),
  );
  fa.startTrace(1);
  await fa.read(attend({ q, k, v }).out, float32);
  assert(fa.stopTrace().dropped > 0);
}

async function numbersAreRight() {
  for (const dtype of [float32, float16, bfloat16]) {
    for (const dim of [1, 8, 40, 64, 111, 256]) {
      const [q, k, v] = [17, 130, 130].map((seqlen) => random(dtype, [1, seqlen, 1, dim]));
      const { out } = attend({ q, k, v });
      const expected = standard(await floats(q), await floats(k), await floats(v), dim);
      const given = await floats(out);
      expected.forEach((x, i) => {
        assert(Math.abs(x - given[i]) < 0.05, `${dim} ${x} ${given[i]}`);
      });
    }
  }
}

async function denseOptions() {
  const [batch, seqlenQ, seqlenK, heads, kvHeads] = [2, 37, 61, 6, 2];
  for (const dtype of [float32, float16, bfloat16]) {
    for (const layout of [0, 1]) {
      const shape = (s, h, d) => (layout ? [batch, h, s, d] : [batch, s, h, d]);
      const q = random(dtype, shape(seqlenQ, heads, 40));
      const k = random(dtype, shape(seqlenK, kvHeads, 40));
      const v = random(dtype, shape(seqlenK, kvHeads, 24));
      const mask = fa.fromData(
        'cpu',
        bool,
        [seqlenQ, seqlenK],
        Uint8Array.from({ length: seqlenQ * seqlenK }, (_, i) => (i % 5 ? 1 : 0)),
        bool,
      );
      const cells = Array.from({ length: 3 * 4 }, (_, i) => i % 3);
      const blocks = {
        blockMaskTable: ints(cells, [1, 1, 3, 4]),
        blockMaskBits: ints(new Array(16).fill(0x0f0f), [1, 16, 1]),
        blockQ: 16,
        blockK: 16,
      };
      const variants = [
        {},
        { causal: true },
        { windowLeft: 9, windowRight: 3, sinkTokens: 2 },
        { softcap: 20, scale: 0.3 },
        { alibiSlopes: random(float32, [heads]) },
        { alibiSlopes: random(float32, [batch, heads]), causal: true },
        { mask },
        { mask: random(dtype, [batch, 1, 1, seqlenK]) },
        { sinks: random(dtype, [heads]) },
        { seqlensK: ints([0, 50]) },
        { dropoutP: 0.25, dropoutSeed: 3n, dropoutOffset: 9n },
        { numSplits: 3 },
        { numSplits: 5, causal: true, softcap: 5, sinks: random(float32, [heads]) },
        blocks,
      ];
      for (const options of variants) {
        const args = { q, k, v, layout, ...options };
        const result = attend(args);
        await expectFinite(result.out, ...differentiate(args, result));
      }
      const states = [0, 1].map(() => attend({ q, k, v, layout }));
      const merged = fa.mergeStates(
        states.map(({ out }) => out),
        states.map(({ lse }) => lse),
        layout,
      );
      await expectFinite(...merged);
    }
  }
}

async function varlenAndPaged() {
  const q = random(bfloat16, [70, 4, 64]);
  const [k, v] = [0, 1].map(() => random(bfloat16, [90, 2, 64]));
  const cuSeqlensQ = ints([0, 0, 33, 70]);
  const cuSeqlensK = fa.convert(ints([0, 20, 20, 90]), 'cpu', int32); // known only when it has run
  const args = { q, k, v, cuSeqlensQ, cuSeqlensK, causal: true };
  const varlen = attend(args);
  await expectFinite(varlen.out, ...differentiate(args, varlen));
  assert.deepEqual(fa.describe(varlen.lse).shape, [4, 70]);

  const [pages, pageSize, perSequence] = [9, 16, 5];
  const paged = {
    q: random(float16, [3, 1, 8, 64]),
    k: random(float16, [pages, pageSize, 2, 64]),
    v: random(float16, [pages, pageSize, 2, 64]),
    seqlensK: ints([80, 1, 33]),
  };
  const table = Array.from({ length: 3 * perSequence }, (_, i) => (i * 4) % pages);
  const pageTable = ints(table, [3, perSequence]);
  await expectFinite(attend({ ...paged, pageTable, numSplits: 4 }).out);

  random(float32, [2 ** 22]); // takes long enough for the next table to be unknown at the call
  const outside = fa.convert(ints(table.with(0, pages), [3, perSequence]), 'cpu', int32);
  const [late] = fa.attention({ ...paged, pageTable: outside, layout: 0, returnLse: false });
  await assert.rejects(fa.read(late, float32), { code: 'ERR_SHAPE', argument: 'pageTable' });
}

async function pagesAreWritten() {
  const [total, heads, dim] = [5, 2, 64];
  const table = fa.fromData('cpu', float32, [8, 32], new Float32Array(8 * 32).fill(0.5), float32);
  const positions = ints([0, 1, 2, 3, 4]);
  const rotary = { cos: table, sin: table, positions, interleaved: false, rotaryOffset: 0 };
  const [k, v] = [0, 1].map(() => random(float32, [total, heads, dim]));
  const pages = () => fa.zeros('cpu', bfloat16, [3, 4, heads, dim]);
  const slots = ints([4, 5, 6, 7, 8]);
  const [kPages, vPages] = fa.append(k, v, pages(), pages(), slots, rotary);
  const args = {
    q: fa.rotate(random(bfloat16, [total, 4, dim]), rotary),
    k: kPages,
    v: vPages,
    cuSeqlensQ: ints([0, 2, 5]),
    pageTable: ints([1, 2, 1, 2], [2, 2]),
    seqlensK: ints([2, 5]),
    treeMask: ints([1, 3, 1, 3, 5], [total, 1]),
    positions: ints([0, 1, 2, 3, 4]),
  };
  await expectFinite(attend(args).out);
  const both = fa.concat([k, v], 2);
  assert.deepEqual(both[fa.description], [float32, total, heads, 2 * dim]);
  await expectFinite(both);
}

/** Taps of equal weight, so that a row is the mean of as many inputs. */
async function convolutionsAreMeans() {
  const [seqlen, heads, dim, taps] = [70, 2, 40, 31];
  const ones = { 0: Float32Array, 1: Uint16Array, 2: Uint16Array };
  const bits = { [float32]: 1, [float16]: 0x3c00, [bfloat16]: 0x3f80 };
  for (const dtype of [float32, float16, bfloat16]) {
    for (const layout of [0, 1]) {
      const axes = (s, d) => (layout ? [2, heads, s, d] : [2, s, heads, d]);
      const shape = axes(seqlen, dim);
      const data = new ones[dtype](2 * seqlen * heads * dim).fill(bits[dtype]);
      const x = fa.fromData('cpu', dtype, shape, data, dtype);
      const weights = fa.zeros('cpu', dtype, axes(seqlen, taps));
      const [out, state] = fa.dynamicConv(x, weights, undefined, layout, true);
      const [next] = fa.dynamicConv(x, fa.zeros('cpu', dtype, [heads, taps]), state, layout, false);
      assert.deepEqual(fa.describe(state).shape, axes(taps - 1, dim));
      const first = (await floats(out))[0];
      assert(Math.abs(first - 1 / taps) < 1e-3, `${first}`);
      for (const one of await floats(next)) assert(Math.abs(one - 1) < 1e-2, `${one}`);
    }
  }
}

async function float8ComesBack() {
  for (const seed of [undefined, 5n]) {
    for (const per of [0, 1, 2]) {
      const tensor = random(float32, [2, 130, 3, 64]);
      const [values, scales] = fa.quantize(tensor, 0, per, seed);
      const back = await floats(fa.dequantize(values, scales, 0, seed, float32));
      const given = await floats(tensor);
      given.forEach((x, i) => {
        assert(Math.abs(x - back[i]) < 0.5, `${x} ${back[i]}`);
      });
    }
  }
}

async function queuesAndFlags() {
  const x = random(float32, [1, 64, 2, 64]);
  fa.prioritize(1);
  const { out } = attend({ q: x, k: x, v: x });
  await expectFinite(out);
  fa.prioritize(0);
  const times = [fa.lap('cpu'), fa.lap('cpu')];
  for (const time of times) assert.equal((await time).byteLength, 8);
  const flag = fa.newAbortFlag();
  fa.abort(flag);
  fa.stopOn(flag);
  const stopped = fa.read(x, float32);
  fa.stopOn(undefined);
  await assert.rejects(stopped, { code: 'ERR_ABORTED' });
  await expectFinite(x);
}

async function tensorsOfAllKinds() {
  const carriers = [Float32Array, Uint16Array, Uint16Array, Int32Array, Uint8Array];
  for (const dtype of [float32, float16, bfloat16, int32, bool]) {
    const data = carriers[dtype].from({ length: 35 }, (_, i) => i % 2);
    const tensor = fa.fromData('cpu', dtype, [5, 7], data, dtype);
    assert.deepEqual(new carriers[dtype](await fa.read(tensor, dtype)), data);
    const transposed = fa.view(tensor, [7, 5], [1, 7], 0);
    const corner = fa.view(transposed, [2, 2], [1, 7], 1);
    assert.equal((await fa.read(corner, dtype)).byteLength, 4 * data.BYTES_PER_ELEMENT);
    assert.equal((await fa.read(fa.zeros('cpu', dtype, [0, 3]), dtype)).byteLength, 0);
    assert.equal((await fa.take(fa.zeros('cpu', dtype, [0, 3]))).byteLength, 0);
    const whole = fa.fromData('cpu', dtype, [5, 7], data, dtype);
    for (const taken of [whole, tensor])
      assert.deepEqual(new carriers[dtype](await fa.take(taken)), data);
    for (const view of [tensor, corner]) fa.dispose(view);
    assert.equal(fa.describe(transposed).byteLength, 35 * data.BYTES_PER_ELEMENT);
  }
  const large = fa.empty('cpu', float32, [1000, 1000]);
  fa.dispose(large);
  fa.dispose(large);
  await fa.synchronize('cpu');
}

async function errorsAreClean() {
  const x = random(float32, [1, 4, 2, 8]);
  const wrong = [
    [() => fa.attention({ q: x, k: x, v: {}, layout: 0, returnLse: false }), 'ERR_TYPE'],
    [() => attend({ q: x, k: x, v: random(float32, [1, 5, 2, 8]) }), 'ERR_SHAPE'],
    [() => attend({ q: x, k: x, v: random(float16, [1, 4, 2, 8]) }), 'ERR_DTYPE'],
    [() => attend({ q: x, k: x, v: x, scale: NaN }), 'ERR_OPTION'],
    [() => attend({ q: x, k: x, v: x, seqlensK: ints([9]) }), 'ERR_SHAPE'],
    [() => fa.view(x, [2], [64], 0), 'ERR_SHAPE'],
    [() => fa.empty('cpu', float32, [2 ** 52]), 'ERR_OUT_OF_MEMORY'],
    [() => fa.empty('cuda:0', float32, [1]), 'ERR_DEVICE_UNAVAILABLE'],
  ];
  for (const [call, code] of wrong) assert.throws(call, { code });
  await assert.rejects(fa.read(fa.view(x, [2 ** 50], [0], 0), float32), {
    code: 'ERR_OUT_OF_MEMORY',
  });
  fa.dispose(x);
  assert.throws(() => fa.read(x, float32), { code: 'ERR_DISPOSED', argument: 'tensor' });
  assert.throws(() => fa.take(x), { code: 'ERR_DISPOSED', argument: 'tensor' });
}

/** Graphs are captured on GPUs: test/device and test/serving have those. */
function graphsAreRefused() {
  const pages = [0, 1].map(() => fa.zeros('cpu', float32, [4, 4, 2, 64]));
  const graph = {
    layers: [[...pages, undefined, undefined]],
    ...{ options: fa.stepOptions('cpu', {}), heads: 4, dtype: float32, batch: 2, tokens: 1 },
    ...{ tree: false, returnLse: false },
    pagesPerSequence: 2,
  };
  assert.throws(() => fa.newDecodeGraph(graph), { code: 'ERR_DEVICE' });
  assert.throws(() => fa.replayDecode({}, {}, 0, []), { code: 'ERR_TYPE' });
  assert.throws(() => fa.endDecodeGraph({}), { code: 'ERR_TYPE' });
}

/** Layers of a step: in place and enqueued, a shared page copied first, q rotated; of latents. */
async function stepsRun() {
  const [total, heads, dim] = [3, 2, 64];
  const numbers = [
    ...[9, 10, 12],
    ...[1, 2, 0],
    ...[0, 2, 3],
    ...[3, 1],
    ...[2, 0, 3, 0],
    ...[0, 2, 1],
  ];
  const args = { batch: 2, total, pagesPerSequence: 2, treeWords: 0, copies: 1 };
  const step = fa.newStep({
    device: 'cpu',
    tables: Int32Array.from(numbers),
    ...args,
    numPages: 4,
    pageSize: 4,
  });
  const table = fa.fromData('cpu', float32, [8, 32], new Float32Array(8 * 32).fill(0.5), float32);
  const rotary = { cos: table, sin: table, interleaved: false, rotaryOffset: 0 };
  const options = fa.stepOptions('cpu', { numSplits: 1, rotary });
  const pages = [0, 1].map(() => fa.zeros('cpu', bfloat16, [4, 4, heads, dim]));
  const rows = (count) => Float32Array.from({ length: total * count * dim }, (_, i) => i % 7);
  const layer = [rows(4), rows(heads), rows(heads), options, undefined, true];
  const [inPlace, lse] = fa.stepAttention(step, ...pages, undefined, undefined, ...layer, true);
  const [out, late] = fa.stepAttention(step, ...pages, undefined, undefined, ...layer, false);
  assert.deepEqual([...(await floats(out))], [...inPlace]);
  assert.deepEqual([...(await floats(late))], [...lse]);
  // Latents: values are the first 16 numbers of keys.
  const values = fa.view(pages[0], [4, 4, heads, 16], [4 * heads * dim, heads * dim, dim, 1], 0);
  const latents = [pages[0], values, undefined, undefined, rows(4), rows(heads), undefined];
  const [ofLatents] = fa.stepAttention(step, ...latents, options, undefined, false, true);
  assert.equal(ofLatents.length, total * 4 * 16);
  fa.endStep(step);
  fa.endStep(step);
  assert.throws(() => fa.stepAttention(step, ...pages, undefined, undefined, ...layer, true), {
    code: 'ERR_DISPOSED',
  });
}

async function workersComeAndGo() {
  const ends = (role) =>
    new Promise((resolve) => {
      const worker = new Worker(path.join(fixtures, 'lifecycle-worker.cjs'), { argv: [role] });
      worker.on('error', () => {});
      worker.on('exit', resolve);
      if (role === 'long') worker.on('message', () => worker.terminate());
    });
  const roles = ['work', 'work', 'long', 'exit', 'throw', 'unread'];
  assert.deepEqual(await Promise.all(roles.map(ends)), [0, 0, 1, 5, 1, 0]);
}

function garbageIsRefused() {
  // An emulator runs our process; the system cannot run its program without it.
  const emulator = process.env.FLASH_ATTENTION_TEST_EMULATOR?.split(' ') ?? [];
  const [command, ...args] = [...emulator, process.execPath, path.join(fixtures, 'fuzz.cjs')];
  // The leak check is this process's business; the child looks for memory errors.
  const env = { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' };
  const { status } = spawnSync(command, [...args, '77', '8000'], { stdio: 'inherit', env });
  assert.equal(status, 0);
}

async function main() {
  assert(fa.devices().length >= 1 && fa.info().threads >= 1);
  for (const part of [
    numbersAreRight,
    traces,
    denseOptions,
    varlenAndPaged,
    pagesAreWritten,
    convolutionsAreMeans,
    float8ComesBack,
    queuesAndFlags,
    tensorsOfAllKinds,
    errorsAreClean,
    stepsRun,
    graphsAreRefused,
    workersComeAndGo,
    garbageIsRefused,
  ]) {
    await part();
    console.log(`${part.name}: ok`);
  }
  for (let i = 0; i < 100 && fa.memory().tensors > 0; i++) {
    global.gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.deepEqual(fa.memory(), { tensors: 0, storages: 0, bytes: 0, scratch: 0, pools: [] });
  assert.deepEqual([...used].sort(), Object.keys(addon).sort());
  console.log('every function: ok');
}

main();
