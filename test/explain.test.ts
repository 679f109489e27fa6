import { BlockMask, explain, memory, tensor, zeros } from '../lib/index.js';
import { settledMemory } from './support/gc.js';

const [B, S, H, Hkv, D] = [2, 512, 4, 2, 64];
const q = zeros([B, S, H, D]);
const kv = zeros([B, S, Hkv, D]);

test('says what would run and what it costs', () => {
  const plan = explain(q, kv, kv);
  expect(plan).toMatchObject({
    device: 'cpu',
    kernel: 'cpu.forward',
    numSplits: expect.any(Number),
  });
  expect(plan.isa).toMatch(/^(x86-64-v|aarch64|scalar|generic|neon|sse|avx)/);
  for (const value of [plan.threads, plan.tileQ, plan.tileK, plan.panels, plan.workItems]) {
    expect(Number.isInteger(value) && value > 0).toBe(true);
  }
  expect(plan.flops).toBe(4 * D * B * H * S * S);
  const inputsAndOut = (2 * B * S * H * D + 2 * B * S * Hkv * D) * 4;
  expect(plan.bytes).toBeGreaterThanOrEqual(inputsAndOut);
  expect(plan.standardMemory).toBe(2 * B * H * S * S * 4);
  expect(plan.standardBytes).toBe(inputsAndOut + 2 * plan.standardMemory);
  expect(plan.tilesPartial + plan.tilesSkipped).toBe(0);
  expect(plan.scratchBytes).toBeLessThan(plan.standardMemory);
});

test('counts FLOPs of visible pairs only', () => {
  const all = explain(q, kv, kv);
  const causal = explain(q, kv, kv, { causal: true });
  expect(causal.flops).toBe(4 * D * B * H * ((S * (S + 1)) / 2));
  expect(causal.tilesSkipped).toBeGreaterThan(0);
  expect(causal.tilesPartial).toBeGreaterThan(0);
  const tiles = (p: typeof all) => p.tilesFull + p.tilesPartial + p.tilesSkipped;
  expect(tiles(causal)).toBe(tiles(all));
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
  expect(memory()).toEqual(before);
});

test('runs nothing and keeps nothing', async () => {
  const before = await settledMemory();
  explain(q, kv, kv, { seqlensK: [1, 2] });
  expect(memory()).toEqual(before);
});
