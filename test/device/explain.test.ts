// What explain counts, against the same tiles walked one by one; and that it waits for nothing.
import fc from 'fast-check';
import {
  concat,
  explain,
  flashAttention,
  randn,
  type Tensor,
  tensor,
  zeros,
} from '../../lib/index.js';
import { native } from '../../lib/native/addon.js';
import { liveHandle } from '../../lib/tensor/tensor.js';
import { onCpu, sized } from '../support/device.js';
import { errorOf } from '../support/expect-error.js';

const bound = fc.oneof(fc.constant(Infinity), fc.integer({ min: -100, max: 900 }));

test('counts what one by one would be counted', () => {
  fc.assert(
    fc.property(
      fc.record({
        batch: fc.integer({ min: 1, max: 3 }),
        seqlenQ: fc.integer({ min: 1, max: 900 }),
        seqlenK: fc.integer({ min: 1, max: 900 }),
        kvHeads: fc.integer({ min: 1, max: 2 }),
        group: fc.integer({ min: 1, max: 6 }),
        left: bound,
        right: bound,
        sinkTokens: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 300 })),
        numSplits: fc.constantFrom(1, 2, 5, 100),
        lengths: fc.option(
          fc.array(fc.integer({ min: 0, max: 900 }), { minLength: 3, maxLength: 3 }),
        ),
        dtype: fc.constantFrom('float32' as const, 'bfloat16' as const),
      }),
      (problem) => {
        const { batch, seqlenQ, seqlenK, kvHeads, group, dtype } = problem;
        const { left, right, sinkTokens, numSplits } = problem;
        const heads = kvHeads * group;
        const lengths = Array.from({ length: batch }, (_, b) =>
          Math.min(seqlenK, problem.lengths?.[b] ?? seqlenK),
        );
        using q = zeros([batch, seqlenQ, heads, 8], { dtype });
        using k = zeros([batch, seqlenK, kvHeads, 8], { dtype });
        const plan = explain(q, k, k, {
          window: [left, right],
          sinkTokens,
          numSplits,
          ...(problem.lengths && { seqlensK: lengths }),
        });
        // A block of the CPU is several tiles of rows; each is classified by itself.
        const { packedHeads, tileQ, tileK, blockRows } = plan;
        const expected = { tilesFull: 0, tilesPartial: 0, tilesSkipped: 0 };
        let pairs = 0;
        for (const keys of lengths) {
          const offset = keys - seqlenQ;
          const begin = (i: number) => Math.max(0, i + offset - left);
          const end = (i: number) => Math.min(keys, Math.max(0, i + offset + right + 1));
          for (let i = 0; i < seqlenQ; i++) {
            const first = Math.min(begin(i), end(i));
            pairs += heads * (end(i) - first + Math.min(sinkTokens, first));
          }
          const rows = seqlenQ * packedHeads;
          for (let item = 0; item < rows; item += blockRows) {
            const itemEnd = Math.min(rows, item + blockRows);
            for (let row = item; row < itemEnd; row += tileQ) {
              const i0 = Math.floor(row / packedHeads);
              const i1 = Math.floor((Math.min(itemEnd, row + tileQ) - 1) / packedHeads);
              const visitsNone = !onCpu && (sinkTokens > 0 ? 0 : begin(i0)) >= end(i1);
              for (let j0 = 0; j0 < keys; j0 += tileK) {
                const j1 = onCpu ? Math.min(j0 + tileK, keys) : j0 + tileK;
                const isSkipped =
                  visitsNone || j0 >= end(i1) || (j1 <= begin(i0) && j0 >= sinkTokens);
                const isFull = j1 <= end(i0) && (j0 >= begin(i1) || j1 <= sinkTokens);
                expected[isSkipped ? 'tilesSkipped' : isFull ? 'tilesFull' : 'tilesPartial'] +=
                  heads / packedHeads;
              }
            }
          }
        }
        expect(plan).toMatchObject({ ...expected, flops: 4 * 8 * pairs, assumed: [] });
      },
    ),
    { numRuns: 100, seed: 20261129 },
  );
});

test('takes no longer for long sequences', () => {
  const n = 2 ** 20;
  using token = zeros([1, 1, 1, 64], { dtype: 'bfloat16' });
  using long = token.expand([64, n, 1, 64]);
  for (const numSplits of [1, 100]) {
    const plan = explain(long, long, long, { causal: true, sinkTokens: 4, numSplits });
    expect(plan.flops).toBe(64 * 4 * 64 * ((n * (n + 1)) / 2));
    expect(plan.bytes).toBeGreaterThan(64 * n * 64 * 2 * 2);
  }
});

describe('while index tensors are being computed', () => {
  const [batch, seqlen, headDim] = [2, 64, 32];
  const q = zeros([batch, seqlen, 1, headDim]);
  const flops = (keys: number) => 4 * headDim * seqlen * keys;
  const long = randn([1, sized(4096, 256), 2, 64], { seed: 1n });

  /** Runs `look` behind calls that take long, and makes sure that it did not wait for them. */
  async function behindLongCalls<T>(look: () => T): Promise<T> {
    const abort = new AbortController();
    const { signal } = abort;
    const calls = Array.from({ length: 4 }, () => flashAttention(long, long, long, { signal }));
    const result = look();
    abort.abort();
    const last = calls[3];
    expect(await errorOf(() => last.toFloat32())).toMatchObject({ code: 'ERR_ABORTED' });
    return result;
  }
  const computed = (values: number[]): Tensor =>
    concat([tensor(Int32Array.from(values), [values.length])], 0);

  test('lengths are the longest that shapes allow, until they are known', async () => {
    const { seqlensK, plan } = await behindLongCalls(() => {
      const lengths = computed([10, 20]);
      return { seqlensK: lengths, plan: explain(q, q, q, { seqlensK: lengths }) };
    });
    expect(plan).toMatchObject({ assumed: ['options.seqlensK'], flops: flops(batch * seqlen) });
    await seqlensK.data();
    expect(explain(q, q, q, { seqlensK })).toMatchObject({ assumed: [], flops: flops(30) });
  });

  test('packed sequences share the tokens, the first ones as many as they may have', async () => {
    const packed = zeros([100, 1, headDim]);
    const plans = await behindLongCalls(() => {
      const options = { cuSeqlensQ: computed([0, 10, 20]), cuSeqlensK: computed([0, 10, 20]) };
      const bounds = { maxSeqlenQ: 60, maxSeqlenK: 60 };
      return [
        explain(packed, packed, packed, options),
        explain(packed, packed, packed, { ...options, ...bounds }),
        explain(packed, packed, packed, { ...options, cuSeqlensQ: [0, 50, 100] }),
      ];
    });
    const pairs = plans.map((plan) => plan.flops / (4 * headDim));
    expect(pairs).toEqual([100 ** 2, 60 ** 2 + 40 ** 2, 50 * 100]);
    const names = ['options.cuSeqlensQ', 'options.cuSeqlensK'];
    expect(plans.map(({ assumed }) => assumed)).toEqual([names, names, names.slice(1)]);
  });

  test('no cost depends on pages', async () => {
    const pages = zeros([4, 16, 1, headDim]);
    const [known, unknown] = await behindLongCalls(() => {
      const pageTable = computed([0, 1, 2, 3]).reshape([batch, 2]);
      return [
        explain(q, pages, pages, { pageTable, seqlensK: [20, 30] }),
        explain(q, pages, pages, { pageTable, seqlensK: computed([20, 30]) }),
      ];
    });
    expect(known).toMatchObject({ assumed: [], flops: flops(50) });
    expect(unknown).toMatchObject({ assumed: ['options.seqlensK'], flops: flops(64) });
  });

  test('a block mask hides nothing', async () => {
    const handle = liveHandle(q);
    const plan = await behindLongCalls(() =>
      native().plan({
        ...{ q: handle, k: handle, v: handle, layout: 0, returnLse: false },
        blockMaskTable: liveHandle(computed([0, 0, 2, 0]).reshape([1, 1, 2, 2])),
        blockMaskBits: liveHandle(computed(Array(32).fill(0)).reshape([1, 32, 1])),
        ...{ blockQ: 32, blockK: 32, blockMaskSeqlenQ: seqlen, blockMaskSeqlenK: seqlen },
      } as never),
    );
    expect(plan).toMatchObject({ assumed: ['blockMask'], flops: flops(batch * seqlen) });
  });

  test('what is known is checked', async () => {
    const error = await behindLongCalls(() =>
      errorOf(async () => explain(q, q, q, { seqlensK: [65, 1] })),
    );
    expect(error).toMatchObject({ code: 'ERR_SHAPE', argument: 'options.seqlensK' });
  });
});
