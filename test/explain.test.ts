import fc from 'fast-check';
import { BlockMask, explain, flashAttention, randn, tensor, zeros } from '../lib/index.js';
import { native } from '../lib/native/addon.js';
import { newTensor } from '../lib/tensor/tensor.js';
import { heldMemory, settledMemory } from './support/gc.js';

const [B, S, H, Hkv, D] = [2, 512, 4, 2, 64];
const q = zeros([B, S, H, D]);
const kv = zeros([B, S, Hkv, D]);

test('says what would run and what it costs', () => {
  const plan = explain(q, kv, kv);
  expect(plan).toMatchObject({
    device: 'cpu',
    kernel: 'cpu.forward',
    backwardKernel: 'cpu.backward',
    numSplits: expect.any(Number),
    launches: 0,
  });
  expect(plan.isa).toMatch(/^(x86-64-v|aarch64|scalar|generic|neon|sse|avx)/);
  const { threads, tileQ, tileK, panels, blockRows, workItems } = plan;
  expect(Math.ceil(blockRows / tileQ)).toBe(panels);
  for (const value of [threads, tileQ, tileK, panels, blockRows, workItems]) {
    expect(Number.isInteger(value) && value > 0).toBe(true);
  }
  expect(plan.flops).toBe(4 * D * B * H * S * S);
  const inputsAndOut = (2 * B * S * H * D + 2 * B * S * Hkv * D) * 4;
  expect(plan.bytes).toBeGreaterThanOrEqual(inputsAndOut);
  expect(plan.standardMemory).toBe(2 * B * H * S * S * 4);
  expect(plan.standardBytes).toBe(inputsAndOut + 2 * plan.standardMemory);
  expect(plan.tilesPartial + plan.tilesSkipped).toBe(0);
  expect(plan.scratchBytes).toBeLessThan(threads * 2 ** 19); // in a second-level cache
});

test('counts FLOPs of visible pairs only', () => {
  const all = explain(q, kv, kv);
  const causal = explain(q, kv, kv, { causal: true });
  expect(causal.flops).toBe(4 * D * B * H * ((S * (S + 1)) / 2));
  expect(causal.tilesSkipped).toBeGreaterThan(0);
  expect(causal.tilesPartial).toBeGreaterThan(0);
  // Each cuts the rows into blocks of its own, and a block into panels.
  for (const p of [all, causal]) {
    const rows = (S * H) / Hkv;
    let panels = 0;
    for (let row = 0; row < rows; row += p.blockRows) {
      panels += Math.ceil(Math.min(p.blockRows, rows - row) / p.tileQ);
    }
    const tiles = p.tilesFull + p.tilesPartial + p.tilesSkipped;
    expect(tiles).toBe(B * Hkv * panels * Math.ceil(S / p.tileK));
  }
  const window = explain(q, kv, kv, { window: [63, 0] });
  expect(window.flops).toBe(4 * D * B * H * (64 * S - (64 * 63) / 2));
  expect(explain(q, kv, kv, { seqlensK: [128, 0] }).flops).toBe(4 * D * H * S * 128);
});

test('honours block masks, splits and dtypes', () => {
  using blockMask = BlockMask.slidingWindow({
    seqlenQ: S,
    seqlenK: S,
    left: 63,
    right: 0,
    blockSize: 64,
  });
  const masked = explain(q, kv, kv, { blockMask });
  expect(masked.tilesSkipped).toBeGreaterThan(masked.tilesFull + masked.tilesPartial);
  expect(explain(q, kv, kv, { numSplits: 4 }).numSplits).toBe(4);
  const half = explain(q.to('bfloat16'), kv.to('bfloat16'), kv.to('bfloat16'));
  expect(half.standardBytes).toBe(explain(q, kv, kv).standardBytes / 2);
});

test('explains varlen and paged calls by their options', async () => {
  const before = await settledMemory();
  const flat = (t: typeof q) => t.reshape([B * S, ...t.shape.slice(2)]);
  using fq = flat(q);
  using fkv = flat(kv);
  const varlen = explain(fq, fkv, fkv, { cuSeqlensQ: [0, 100, 1024], cuSeqlensK: [0, 100, 1024] });
  expect(varlen.flops).toBe(4 * D * H * (100 ** 2 + 924 ** 2));
  const pages = kv.reshape([(B * S) / 16, 16, Hkv, D]);
  const pageTable = tensor(
    Int32Array.from({ length: 64 }, (_, i) => i),
    [B, 32],
  );
  const paged = explain(q, pages, pages, { pageTable, seqlensK: [512, 16] });
  expect(paged.flops).toBe(4 * D * H * S * (512 + 16));
  for (const t of [pages, pageTable, fq, fkv]) t.dispose();
  expect(heldMemory()).toEqual(before);
});

test('runs nothing and keeps nothing', async () => {
  const before = await settledMemory();
  explain(q, kv, kv, { seqlensK: [1, 2] });
  expect(heldMemory()).toEqual(before);
});

const bound = fc.oneof(fc.constant(Infinity), fc.integer({ min: -200, max: 1500 }));

test('counts what one by one would be counted', () => {
  fc.assert(
    fc.property(
      fc.record({
        seqlenQ: fc.integer({ min: 1, max: 1500 }),
        seqlenK: fc.integer({ min: 1, max: 1500 }),
        group: fc.integer({ min: 1, max: 5 }),
        left: bound,
        right: bound,
        sinkTokens: fc.integer({ min: 0, max: 400 }),
      }),
      ({ seqlenQ, seqlenK, group, left, right, sinkTokens }) => {
        const queries = zeros([1, seqlenQ, group, 8]);
        const keys = zeros([1, seqlenK, 1, 8]);
        const plan = explain(queries, keys, keys, { window: [left, right], sinkTokens });
        const { tileQ, tileK, blockRows } = plan;
        for (const t of [queries, keys]) t.dispose();

        const offset = seqlenK - seqlenQ;
        const begins = Array.from({ length: seqlenQ }, (_, i) => Math.max(0, i + offset - left));
        const ends = begins.map((_, i) => Math.min(seqlenK, Math.max(0, i + offset + right + 1)));
        let pairs = 0;
        for (let i = 0; i < seqlenQ; i++) {
          const begin = Math.min(begins[i], ends[i]);
          pairs += ends[i] - begin + Math.min(sinkTokens, begin);
        }
        const counts = { full: 0, partial: 0, skipped: 0 };
        let keysRead = 0;
        const rows = seqlenQ * group;
        for (let item = 0; item < rows; item += blockRows) {
          for (let j0 = 0; j0 < seqlenK; j0 += tileK) {
            const j1 = Math.min(j0 + tileK, seqlenK);
            let isRead = false;
            for (let row = item; row < Math.min(rows, item + blockRows); row += tileQ) {
              const first = Math.floor(row / group);
              const last = Math.floor((Math.min(rows, item + blockRows, row + tileQ) - 1) / group);
              const isSkipped = j0 >= ends[last] || (j1 <= begins[first] && j0 >= sinkTokens);
              const isFull = j1 <= ends[first] && (j0 >= begins[last] || j1 <= sinkTokens);
              counts[isSkipped ? 'skipped' : isFull ? 'full' : 'partial']++;
              if (!isSkipped) isRead = true;
            }
            if (isRead) keysRead += j1 - j0;
          }
        }
        expect(plan).toMatchObject({
          flops: 4 * 8 * group * pairs,
          tilesFull: counts.full,
          tilesPartial: counts.partial,
          tilesSkipped: counts.skipped,
        });
        const merged = plan.numSplits > 1 ? 2 * plan.numSplits * rows * (8 + 2) * 4 : 0;
        expect(plan.bytes).toBe(2 * (rows + keysRead) * 8 * 4 + merged);
      },
    ),
    { numRuns: 150, seed: 20261121 },
  );
});

test('takes no longer for absurd lengths', () => {
  const n = 2 ** 29;
  const one = native().empty('cpu', 0, [1]);
  const long = newTensor(
    native().view(one, [1, n, 1, 64], [0, 0, 0, 0], 0),
    'float32',
    'cpu',
    [1, n, 1, 64],
    [0, 0, 0, 0],
  );
  const plan = explain(long, long, long, { causal: true });
  expect(plan.flops).toBe(4 * 64 * ((n * (n + 1)) / 2));
  long.dispose();
  native().dispose(one);
});

describe('numSplits', () => {
  const many = randn([1, 2048, 8, 64], { seed: 1n });
  const token = many.slice(null, [0, 1]);

  test('is what was asked for, and at most the tiles there are', () => {
    expect(explain(token, many, many, { numSplits: 3 }).numSplits).toBe(3);
    const plan = explain(token, many, many, { numSplits: 256 });
    expect(plan.numSplits).toBe(Math.ceil(2048 / plan.tileK));
  });

  test('is chosen by how much there is to share out', () => {
    const { threads } = explain(token, many, many);
    const auto = (q: typeof many, k: typeof many) => explain(q, k, k, { numSplits: 'auto' });
    const plan = auto(token, many);
    expect(plan).toEqual(explain(token, many, many));
    // One query leaves threads idle unless keys are split; as many queries as keys do not.
    expect(plan.numSplits > 1).toBe(threads > 1);
    // An item has 2^18 multiply-adds at least, and here there are 8 times as many to deal out.
    expect(plan.workItems).toBeGreaterThanOrEqual(Math.min(threads, 4));
    using batch = zeros([8, 2048, 8, 64]);
    expect(auto(batch, batch).numSplits).toBe(1);
    // Too few keys to be worth a merge, or a second thread.
    const few = many.slice(null, [0, 100]);
    expect(auto(token, few).numSplits).toBe(1);
    expect(auto(token, few).threads).toBe(1);
    few.dispose();
  });

  test('is what runs', async () => {
    const { numSplits } = explain(token, many, many);
    const run = (options: object) => flashAttention(token, many, many, options).toFloat32();
    expect(await run({ numSplits })).toEqual(await run({}));
    if (numSplits > 1) expect(await run({ numSplits: 1 })).not.toEqual(await run({}));
  });
});
