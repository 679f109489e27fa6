import {
  flashAttention,
  type ScaledDotProductAttentionOptions,
  scaledDotProductAttention,
  tensor,
} from '../lib/index.js';
import { type ReferenceOptions, standardAttention } from '../lib/reference/index.js';
import { bound, maxError, normals, qkvTensors, randomProblem, toBhsd } from './support/numerics.js';

const shapes = [
  { batch: 2, seqlenQ: 7, seqlenK: 7, heads: 4, headDim: 16 },
  { batch: 1, seqlenQ: 5, seqlenK: 19, heads: 2, headDim: 32, headDimV: 8 },
  { batch: 1, seqlenQ: 19, seqlenK: 5, heads: 2, headDim: 32 },
];

describe.each(shapes)('$seqlenQ queries, $seqlenK keys', (shape) => {
  const { batch, seqlenQ, seqlenK, heads } = shape;
  const bool = Uint8Array.from({ length: seqlenQ * seqlenK }, (_, i) => (i % 4 ? 1 : 0));
  const bias = normals(heads * seqlenQ * seqlenK, 11);
  const cases: [string, ScaledDotProductAttentionOptions, ReferenceOptions][] = [
    ['plain', {}, {}],
    ['scale', { scale: 0.2 }, { scale: 0.2 }],
    [
      'isCausal: query i sees keys 0 to i',
      { isCausal: true },
      { visible: (_b, _h, i, j) => j <= i },
    ],
    ['isCausal false', { isCausal: false }, {}],
    [
      'bool attnMask',
      { attnMask: tensor(bool, [seqlenQ, seqlenK], { dtype: 'bool' }) },
      { mask: { data: bool, shape: [seqlenQ, seqlenK] } },
    ],
    [
      'float attnMask',
      { attnMask: tensor(bias, [heads, seqlenQ, seqlenK]) },
      { mask: { data: bias, shape: [heads, seqlenQ, seqlenK] } },
    ],
    ['dropout', { dropoutP: 0.4, dropoutSeed: 99n }, { dropout: { p: 0.4, seed: 99n } }],
    ['dropoutP 0 with a seed', { dropoutP: 0, dropoutSeed: 99n }, {}],
  ];
  test.each(cases.map(([name, options, reference]) => ({ name, options, reference })))(
    '$name',
    async ({ options, reference }) => {
      const problem = { ...randomProblem(shape), ...reference };
      const { q, k, v } = qkvTensors(problem, 'float32', 'bhsd');
      const out = scaledDotProductAttention(q, k, v, options);
      const headDimV = shape.headDimV ?? shape.headDim;
      expect(out.shape).toEqual([batch, heads, seqlenQ, headDimV]);
      const truth = standardAttention(problem);
      const standard = standardAttention(problem, { precision: 'float32' });
      const expected = toBhsd(Float32Array.from(truth.out), [batch, seqlenQ, heads, headDimV]);
      const error = maxError(await out.toFloat32(), expected);
      expect(error).toBeLessThanOrEqual(bound(standard.out, truth.out));
    },
  );
});

test('enableGqa shares key and value heads', async () => {
  const problem = randomProblem({
    batch: 1,
    seqlenQ: 6,
    seqlenK: 6,
    heads: 4,
    kvHeads: 2,
    headDim: 16,
  });
  const { q, k, v } = qkvTensors(problem, 'float32', 'bhsd');
  const out = scaledDotProductAttention(q, k, v, { enableGqa: true });
  expect(await out.data()).toEqual(await flashAttention(q, k, v, { layout: 'bhsd' }).data());
});
