import { clientOf } from '../support/openai-client.js';
import { ScriptedEngine, saying } from '../support/scripted-engine.js';
import { eventsOf, type Json, jsonOf, serve, stopServing } from '../support/serving.js';

afterEach(stopServing);

const hello = { messages: [{ role: 'user', content: 'Hi' }] } as const;

describe('probabilities', () => {
  test('of a chat are entries with bytes and alternatives', async () => {
    const client = clientOf(await serve(new ScriptedEngine(saying('ab'))));
    const { choices } = await client.chat.completions.create({
      ...{ model: 'test-model', messages: [{ role: 'user', content: 'Hi' }] },
      ...{ logprobs: true, top_logprobs: 2 },
    });
    expect(choices[0].logprobs?.content).toEqual([
      {
        ...{ token: 'a', logprob: -0.5, bytes: [97] },
        top_logprobs: [
          { token: 'a', logprob: -0.5, bytes: [97] },
          { token: 'b', logprob: -1.5, bytes: [98] },
        ],
      },
      {
        ...{ token: 'b', logprob: -0.5, bytes: [98] },
        top_logprobs: [
          { token: 'b', logprob: -0.5, bytes: [98] },
          { token: 'c', logprob: -1.5, bytes: [99] },
        ],
      },
    ]);
  });

  test('come without alternatives when none are asked for', async () => {
    const { post } = await serve(new ScriptedEngine(saying('a')));
    const response = await post('/v1/chat/completions', { ...hello, logprobs: true });
    const { choices } = await jsonOf(response);
    expect(choices[0].logprobs.content).toMatchObject([{ token: 'a', top_logprobs: [] }]);
  });

  test('of a stream stand in the chunk that completes their tokens', async () => {
    const { post } = await serve(new ScriptedEngine(saying('é!')));
    const body = { ...hello, logprobs: true, stream: true };
    const chunks = (await eventsOf(await post('/v1/chat/completions', body))).slice(0, -1);
    const counts = (chunks as Json[]).map(({ choices: [{ delta, logprobs }] }) => [
      delta.content,
      logprobs?.content.length,
    ]);
    expect(counts).toEqual([
      ['é', 2],
      ['!', 1],
      [undefined, undefined],
    ]);
  });

  test('of a completion have the older format', async () => {
    const { post } = await serve(new ScriptedEngine(saying('ab')));
    const { choices } = await jsonOf(post('/v1/completions', { prompt: 'x', logprobs: 2 }));
    expect(choices[0].logprobs).toEqual({
      tokens: ['a', 'b'],
      token_logprobs: [-0.5, -0.5],
      top_logprobs: [
        { a: -0.5, b: -1.5 },
        { b: -0.5, c: -1.5 },
      ],
      text_offset: [0, 1],
    });
  });
});
