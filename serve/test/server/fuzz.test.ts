import fc from 'fast-check';
import { ScriptedEngine, saying } from '../support/scripted-engine.js';
import { expectErrorBody, type Serving, serve, stopServing } from '../support/serving.js';

let serving: Serving;
const engine = new ScriptedEngine(saying('ab STOP cd'), { embeddings: true });

beforeAll(async () => {
  serving = await serve(engine);
});

afterAll(stopServing);

/** Values that fields have, or nearly. */
const value = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>(null, -1, 0, 1, 1.5, 2 ** 31, 2 ** 53, 1e308, '', '\ud800', [], {}),
  fc.constantFrom<unknown>([''], [[]], [[1]], [-1], [260], { type: 'json_schema' }, { 1: 1 }),
);

const names = [
  ...['model', 'messages', 'prompt', 'input', 'max_tokens', 'max_completion_tokens', 'n'],
  ...['temperature', 'top_p', 'top_k', 'min_p', 'stop', 'stream', 'stream_options', 'seed'],
  ...['presence_penalty', 'frequency_penalty', 'repetition_penalty', 'logit_bias', 'logprobs'],
  ...['top_logprobs', 'response_format', 'tools', 'tool_choice', 'user', 'min_tokens', 'echo'],
  ...['ignore_eos', 'stop_token_ids', 'priority', 'num_speculative_tokens', 'cache_salt'],
  ...['chat_template_kwargs', 'encoding_format', 'dimensions', 'skip_special_tokens'],
];

const message = fc.record(
  {
    role: fc.oneof(fc.constantFrom('system', 'user', 'assistant', 'tool', 'developer'), value),
    content: fc.oneof(fc.string(), value),
    tool_calls: value,
    name: value,
  },
  { requiredKeys: [] },
);

const fields = fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 4 });
const good = { messages: [{ role: 'user', content: 'Hi' }], prompt: 'Hi', input: 'Hi' };

const body = fc.oneof(
  { weight: 4, arbitrary: fields.map((wrong) => JSON.stringify({ ...good, ...wrong })) },
  {
    weight: 2,
    arbitrary: fc
      .record({ messages: fc.array(message, { maxLength: 4 }), wrong: fields })
      .map(({ messages, wrong }) => JSON.stringify({ ...good, messages, ...wrong })),
  },
  { weight: 1, arbitrary: fc.json() },
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
  {
    weight: 1,
    arbitrary: fc.nat(200).map((end) => JSON.stringify({ ...good, n: 2 }).slice(0, end)),
  },
);

test.each(['/v1/chat/completions', '/v1/completions', '/v1/embeddings'])(
  'whatever comes to %s, the answer is one of the API and no failure of the server',
  async (path) => {
    await fc.assert(
      fc.asyncProperty(body, async (text) => {
        const response = await serving.post(path, text);
        const answer = await response.text();
        expect([200, 400, 404]).toContain(response.status);
        if (response.headers.get('content-type')?.startsWith('text/event-stream')) {
          expect(answer.endsWith('data: [DONE]\n\n')).toBe(true);
        } else if (response.ok) {
          expect(JSON.parse(answer)).toHaveProperty('usage');
        } else {
          expectErrorBody(JSON.parse(answer));
        }
      }),
      { numRuns: 250 },
    );
    expect(engine.live.size).toBe(0);
  },
);

test('whatever headers come, the answer is one of the API', async () => {
  const header = fc.constantFrom('content-type', 'authorization', 'x-request-id', 'origin');
  const content = fc.oneof(
    fc.string({ maxLength: 40 }).map((text) => text.replace(/[^\x21-\x7e]/g, '')),
    fc.constantFrom('application/json; charset=latin1', 'application/json;', '*/*', 'null'),
  );
  await fc.assert(
    fc.asyncProperty(fc.dictionary(header, content, { maxKeys: 3 }), async (headers) => {
      const response = await serving.post('/v1/completions', good, headers);
      const answer = JSON.parse(await response.text());
      expect([200, 400, 403, 415]).toContain(response.status);
      if (!response.ok) expectErrorBody(answer);
    }),
    { numRuns: 100 },
  );
});
