import fc from 'fast-check';
import type { TokenEvent } from '../../src/engine/contract.js';
import { kthLargest, largest } from '../../src/sampler/partial-sort.js';
import { uniform } from '../../src/sampler/random.js';
import { Sampler, SamplerMemory } from '../../src/sampler/sampler.js';
import { generationRequest, type RequestFields } from '../support/generation-request.js';
import { distribution, tokenAt } from './reference.js';

/** Draws with the logits of each step in turn. */
function draw(
  rows: readonly ArrayLike<number>[],
  fields: RequestFields = {},
  allowed: { forbidden?: readonly number[]; mask?: Int32Array } = {},
): TokenEvent[] {
  const request = generationRequest(fields);
  const memory = new SamplerMemory(rows[0].length);
  const sampler = new Sampler(request, request.sampling.seed ?? 0, memory);
  return rows.map((row) => sampler.next(Float32Array.from(row), { forbidden: [], ...allowed }));
}

const tokensOf = (events: readonly TokenEvent[]) => events.map(({ token }) => token);

/** Logits with ties, with tokens that can't come, and with ordinary ones. */
const logits = (size: number) =>
  fc.array(
    fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: -20_000, max: 20_000 }).map((n) => n / 1024) },
      { weight: 2, arbitrary: fc.constantFrom(-1, 0, 2) },
      { weight: 1, arbitrary: fc.constant(-Infinity) },
    ),
    { minLength: size, maxLength: size },
  );

const params = fc.record({
  temperature: fc.constantFrom(0, 0.3, 1, 2.5),
  topK: fc.constantFrom(0, 1, 2, 5, 1000),
  topP: fc.constantFrom(1, 0.953, 0.517, 0.0113, 0),
  minP: fc.constantFrom(0, 0.05, 0.6, 1),
  repetitionPenalty: fc.constantFrom(1, 1.2, 0.8),
  presencePenalty: fc.constantFrom(0, 0.7, -0.7),
  frequencyPenalty: fc.constantFrom(0, 0.4),
  logitBias: fc.constantFrom(
    new Map<number, number>(),
    new Map([
      [3, 4],
      [4, -100],
    ]),
  ),
  seed: fc.integer(),
});

test.each([5, 40, 300])('any parameters, %i tokens: the draws of the float64 reference', (size) => {
  fc.assert(
    fc.property(
      fc.array(logits(size), { minLength: 1, maxLength: 6 }),
      params,
      fc.array(fc.nat(4), { maxLength: 5 }),
      fc.boolean(),
      (rows, sampling, prompt, masked) => {
        const ids = Array.from({ length: size }, (_, id) => id);
        const allowed = masked ? new Set(ids.filter((id) => id % 3 !== 1)) : undefined;
        const forbidden = masked ? [0] : [];
        const mask = allowed && Int32Array.from({ length: Math.ceil(size / 32) }, () => 0);
        if (mask) for (const id of allowed) mask[id >> 5] |= 1 << id;
        const given = rows.map((row) => row.map((logit, id) => (id === 2 ? 1 : logit)));
        const tokens = tokensOf(
          draw(given, { sampling, prompt: [0, ...prompt] }, { forbidden, mask }),
        );
        given.forEach((row, index) => {
          const answer = tokens.slice(0, index);
          const full = generationRequest({ sampling }).sampling;
          const probabilities = distribution({
            ...{ logits: Float32Array.from(row), sampling: full, prompt: [0, ...prompt], answer },
            ...{ forbidden, allowed },
          });
          const u = uniform(sampling.seed, index);
          const { token, distance } = tokenAt(probabilities, u);
          // Sums are rounded: where u is that close to a border, either is right.
          if (distance > 1e-12 || sampling.temperature === 0) expect(tokens[index]).toBe(token);
          else expect(probabilities[tokens[index]]).toBeGreaterThan(0);
        });
      },
    ),
    { numRuns: 150 },
  );
});

test('golden: top_k, top_p, min_p, one after the other, as Hugging Face has them', () => {
  // Probabilities 0.4, 0.3, 0.15, 0.1, 0.05.
  const row = [0.4, 0.3, 0.15, 0.1, 0.05].map(Math.log);
  const possible = (sampling: RequestFields['sampling']) => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 400; seed++) {
      seen.add(draw([row], { sampling: { temperature: 1, ...sampling, seed } })[0].token);
    }
    return [...seen].sort();
  };
  expect(possible({})).toEqual([0, 1, 2, 3, 4]);
  expect(possible({ topK: 3 })).toEqual([0, 1, 2]);
  expect(possible({ topP: 0.69 })).toEqual([0, 1]);
  expect(possible({ topP: 0.72 })).toEqual([0, 1, 2]);
  expect(possible({ minP: 0.3 })).toEqual([0, 1, 2]);
  // Of the best two alone, the first has 0.57: top_p looks at what top_k left.
  expect(possible({ topK: 2, topP: 0.5 })).toEqual([0]);
  expect(possible({ topP: 0.5 })).toEqual([0, 1]);
  // Temperature comes before: at 3 the same tokens are 0.27, 0.24, 0.19, 0.17, 0.13.
  expect(possible({ temperature: 3, topP: 0.69 })).toEqual([0, 1, 2]);
  expect(possible({ temperature: 3, minP: 0.6 })).toEqual([0, 1, 2, 3]);
  expect(possible({ topP: 0 })).toEqual([0]);
});

test('of equally likely tokens top_k keeps all, top_p the lowest ids, greedy the lowest', () => {
  const row = [1, 3, 3, 3, 2];
  const seen = (sampling: RequestFields['sampling']) => {
    const all = Array.from({ length: 200 }, (_, seed) => ({ temperature: 1, ...sampling, seed }));
    return new Set(all.map((one) => draw([row], { sampling: one })[0].token));
  };
  expect(seen({ topK: 2 })).toEqual(new Set([1, 2, 3]));
  expect(seen({ topP: 0.5 })).toEqual(new Set([1, 2]));
  expect(seen({ temperature: 0 })).toEqual(new Set([1]));
});

test('draws have the distribution of the model', () => {
  const row = Array.from({ length: 12 }, (_, id) => Math.sin(3 * id) * 2);
  const count = 30_000;
  for (const sampling of [
    { temperature: 1 },
    { temperature: 0.6, topP: 0.9 },
    { temperature: 1.5, topK: 6, minP: 0.1 },
  ]) {
    const rows = Array.from({ length: count }, () => row);
    const counts = new Array(row.length).fill(0);
    for (const { token } of draw(rows, { sampling: { ...sampling, seed: 11 } })) counts[token]++;
    const logits = Float32Array.from(row);
    const full = generationRequest({ sampling }).sampling;
    const expected = distribution({ logits, sampling: full, prompt: [], answer: [] });
    let chiSquared = 0;
    expected.forEach((p, id) => {
      if (p === 0) expect(counts[id]).toBe(0);
      else chiSquared += (counts[id] - p * count) ** 2 / (p * count);
    });
    expect(chiSquared).toBeLessThan(40); // 11 degrees of freedom; the seed is fixed
  }
});

test('temperatures of 1e-5, 1e-8 and less take the likeliest token; huge ones take any', () => {
  const row = [0, 5, 4.999, -3, -Infinity, 5];
  for (const temperature of [1e-5, 1e-8, 1e-300, Number.MIN_VALUE]) {
    const tokens = Array.from(
      { length: 50 },
      (_, seed) => draw([row], { sampling: { temperature, seed } })[0].token,
    );
    expect(new Set(tokens)).toEqual(new Set([1, 5]));
  }
  const seen = Array.from(
    { length: 300 },
    (_, seed) => draw([row], { sampling: { temperature: 1e6, seed } })[0].token,
  );
  expect(new Set(seen)).toEqual(new Set([0, 1, 2, 3, 5]));
});

test('tokens whose logit is -Infinity never come, greedy or drawn', () => {
  const row = [-Infinity, -900, -Infinity];
  for (const temperature of [0, 1, 1e-8, 1e6]) {
    expect(tokensOf(draw([row, row], { sampling: { temperature } }))).toEqual([1, 1]);
  }
});

test.each([
  [[1, NaN, 2], "The model's logit of token 1 is NaN."],
  [[NaN, NaN], "The model's logit of token 0 is NaN."],
  [[0, 1, Infinity], "The model's logit of token 2 is Infinity."],
  [[-Infinity, -Infinity], 'No token is allowed to come next.'],
])('logits that name no token are an error: %j', (row, message) => {
  for (const temperature of [0, 1]) {
    expect(() => draw([row], { sampling: { temperature } })).toThrow(message);
  }
});

test('presence and frequency look at the answer, repetition at the prompt as well', () => {
  const row = [2, 1.9, -5];
  const rows = [row, row, row];
  expect(tokensOf(draw(rows, { prompt: [0, 0, 0], sampling: { presencePenalty: 1 } }))).toEqual([
    0, 1, 0,
  ]);
  expect(tokensOf(draw(rows, { prompt: [0, 0], sampling: { frequencyPenalty: 0.15 } }))).toEqual([
    0, 1, 0,
  ]);
  expect(tokensOf(draw(rows, { prompt: [0], sampling: { repetitionPenalty: 2 } }))).toEqual([
    1, 0, 0,
  ]);
  // Negative logits go further down, not up.
  const negative = [-1, -1.5];
  expect(draw([negative], { prompt: [0], sampling: { repetitionPenalty: 2 } })[0].token).toBe(1);
});

test('logprobs are of the model: before temperature, penalties, bias and grammar', () => {
  const row = [1, 2, 3, 2];
  const sum = row.reduce((total, logit) => total + Math.exp(logit), 0);
  const logprob = (id: number) => expect.closeTo(row[id] - Math.log(sum), 6);
  const sampling = { temperature: 0, logitBias: new Map([[0, 100]]), presencePenalty: 2 };
  const mask = Int32Array.of(0b0011);
  const [event] = draw([row], { sampling, topLogprobs: 3, prompt: [1] }, { mask });
  expect(event).toEqual({
    token: 0,
    logprob: logprob(0),
    top: [2, 1, 3].map((token) => ({ token, logprob: logprob(token) })),
  });
  expect(draw([row], { topLogprobs: 0 })[0]).toEqual({ token: 2, logprob: logprob(2), top: [] });
  expect(draw([row], { topLogprobs: 99 })[0].top).toHaveLength(4);
  expect(draw([row])[0]).toEqual({ token: 2 });
});

test('the logits are left as they were', () => {
  const row = Float32Array.of(1, 2, 3);
  const request = generationRequest({
    sampling: { temperature: 1, repetitionPenalty: 2, logitBias: new Map([[0, 5]]) },
  });
  new Sampler(request, 0, new SamplerMemory(3)).next(row, { forbidden: [2] });
  expect(row).toEqual(Float32Array.of(1, 2, 3));
});

test('partial sorting gives what sorting gives', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.float({ noNaN: true }), fc.constantFrom(0, 1, -Infinity)), {
        minLength: 1,
        maxLength: 60,
      }),
      fc.integer({ min: 1, max: 70 }),
      (values, k) => {
        const row = Float32Array.from(values, (value) => value + 0); // of the zeros, one
        const order = [...row.keys()].sort((a, b) => row[b] - row[a] || a - b);
        expect(kthLargest(row, k)).toBe(k > row.length ? -Infinity : row[order[k - 1]]);
        expect(largest(row, k)).toEqual(order.slice(0, k));
      },
    ),
    { numRuns: 500 },
  );
});
