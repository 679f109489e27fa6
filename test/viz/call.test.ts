import fc from 'fast-check';
import { explain, zeros } from '../../lib/index.js';
import { readCall } from '../../viz/model/call.js';
import { gridOf } from '../../viz/model/call-grid.js';

const text = (value: unknown) => JSON.stringify(value, (_, x) => (x === Infinity ? 'Infinity' : x));

/** What `flash-attention explain --json` prints of a call. */
function report(sizes: number[], options: object) {
  const [batch, seqlenQ, seqlenK, kvHeads, group] = sizes;
  const q = zeros([batch, seqlenQ, kvHeads * group, 8]);
  const k = zeros([batch, seqlenK, kvHeads, 8]);
  const plan = explain(q, k, k, options);
  const tensor = ({ dtype, shape }: typeof q) => ({ dtype, shape });
  const said = { q: tensor(q), k: tensor(k), v: tensor(k), options, plan };
  for (const each of [q, k]) each.dispose();
  return said;
}

const bound = fc.oneof(fc.constant(Infinity), fc.integer({ min: 0, max: 700 }));

test('the tiles that are drawn are those that explain counts', () => {
  fc.assert(
    fc.property(
      fc.tuple(
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 900 }),
        fc.integer({ min: 1, max: 900 }),
        fc.integer({ min: 1, max: 2 }),
        fc.integer({ min: 1, max: 4 }),
      ),
      fc.record({
        causal: fc.boolean(),
        window: fc.tuple(bound, bound),
        sinkTokens: fc.integer({ min: 0, max: 300 }),
      }),
      (sizes, options) => {
        const { plan, shape } = readCall(text(report(sizes, options)));
        if (!shape) throw new Error('no shape was read');
        const { tilesFull, tilesPartial, tilesSkipped } = plan;
        expect(gridOf(plan, shape).counts).toEqual({
          full: tilesFull,
          partial: tilesPartial,
          skipped: tilesSkipped,
        });
      },
    ),
    { numRuns: 60, seed: 20261129 },
  );
});

test('splits have whole tiles, and as many as the plan says', () => {
  const { plan, shape } = readCall(text(report([1, 1, 5000, 1, 4], { numSplits: 7 })));
  if (!shape) throw new Error('no shape was read');
  const grid = gridOf(plan, shape);
  // The tiles from floor(tiles * s / 7) on, as TileRange::split has them.
  const begins = Array.from({ length: 7 }, (_, s) => Math.floor((grid.cols * s) / 7));
  expect(grid.splitsOf(0)).toEqual(begins);
});

test('on a GPU the splits are of the tiles that a row of them sees', () => {
  const plan = { ...report([1, 256, 1024, 1, 1], {}).plan, device: 'cuda:0' };
  const tiles = { tileQ: 128, tileK: 128, blockRows: 128, packedHeads: 1, numSplits: 3 };
  const shape = readCall(text(report([1, 256, 1024, 1, 1], { window: [255, 0] }))).shape;
  if (!shape) throw new Error('no shape was read');
  const grid = gridOf({ ...plan, ...tiles }, shape);
  // Queries 0 to 127 stand at 768 to 895 and see keys 513 to 895: tiles 4 to 6.
  expect(grid.splitsOf(0)).toEqual([4, 5, 6]);
  expect(grid.splitsOf(1)).toEqual([5, 6, 7]);
});

test('heads first is a layout too', () => {
  const said = report([1, 100, 200, 2, 1], {});
  const heads = { dtype: 'float32', shape: [1, 2, 100, 8] };
  const keys = { dtype: 'float32', shape: [1, 2, 200, 8] };
  const { shape } = readCall(text({ ...said, q: heads, k: keys, options: { layout: 'bhsd' } }));
  expect(shape).toMatchObject({ seqlenQ: 100, seqlenK: 200, heads: 2, kvHeads: 2 });
});

describe('what cannot be drawn is said', () => {
  const said = report([1, 100, 200, 2, 1], {});

  test('a plan alone has no shapes', () => {
    const call = readCall(text(said.plan));
    expect(call.shape).toBeUndefined();
    expect(call.missing).toContain('a plan alone');
  });

  test.each(['mask', 'blockMask', 'seqlensK', 'pageTable'])('%s hides pairs', (name) => {
    const call = readCall(text({ ...said, options: { [name]: {} } }));
    expect(call.missing).toContain(`option ${name} hides pairs`);
  });

  test.each<[string, string, RegExp]>([
    ['half a file', '{', /This is no JSON/],
    ['a list', '[]', /Expected a JSON object/],
    ['an object of something else', '{}', /Expected an object with a plan/],
    [
      'a tile without rows',
      text({ plan: { ...said.plan, tileQ: 0 } }),
      /tileQ to be at least 1 but found 0/,
    ],
    [
      'a count in words',
      text({ plan: { ...said.plan, flops: 'many' } }),
      /flops to be a number but found "many"/,
    ],
    [
      'a kernel without a name',
      text({ plan: { ...said.plan, kernel: 7 } }),
      /kernel to be a text but found 7/,
    ],
  ])('%s is refused', (_, wrong, message) => {
    expect(() => readCall(wrong)).toThrow(message);
  });
});
