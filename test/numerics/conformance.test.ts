import { flashAttention } from '../../lib/index.js';
import { standardAttention } from '../../lib/reference/index.js';
import { type ConformanceCase, conformanceCases, haveConformance } from '../support/conformance.js';
import {
  attentionOptions,
  compare,
  expectWithin,
  type FloatDType,
  maxError,
  qkvTensors,
  rounding,
} from '../support/numerics.js';

async function run({ problem, options }: ConformanceCase, dtype: FloatDType) {
  const { q, k, v } = qkvTensors(problem, dtype);
  const { out, lse } = flashAttention(q, k, v, {
    ...attentionOptions(options, problem.shape),
    returnLse: true,
  });
  return { out: await out.toFloat32(), lse: await lse.toFloat32() };
}

// The vectors are data from elsewhere and lie beside the repository, not in it.
const why = haveConformance
  ? ''
  : ' (left out: FLASH_ATTENTION_CONFORMANCE names no folder of them)';
(haveConformance ? describe : describe.skip)(
  `independent vectors (ONNX, onnxruntime)${why}`,
  () => {
    let cases: ConformanceCase[];
    beforeAll(async () => {
      cases = await conformanceCases();
    });

    test('there are 100', () => {
      expect(cases).toHaveLength(100);
    });

    test('the float64 reference reproduces them', () => {
      for (const { name, problem, expected, tolerance } of cases) {
        const error = maxError(standardAttention(problem).out, expected);
        expect({ name, within: error <= tolerance, error }).toMatchObject({ within: true });
      }
    });

    test('float32 on the default device', async () => {
      for (const one of cases) {
        const error = maxError((await run(one, 'float32')).out, one.expected);
        expect({ name: one.name, within: error <= one.tolerance, error }).toMatchObject({
          within: true,
        });
      }
    });

    test.each(['float16', 'bfloat16'] as const)('%s, on inputs rounded to it', async (dtype) => {
      for (const one of cases) {
        const round = rounding[dtype];
        const problem = {
          ...one.problem,
          q: one.problem.q.map(round),
          k: one.problem.k.map(round),
          v: one.problem.v.map(round),
        };
        const { out, lse } = await run({ ...one, problem }, dtype);
        expectWithin(compare(problem, dtype, out, lse));
      }
    });
  },
);
