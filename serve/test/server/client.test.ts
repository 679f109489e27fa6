import { ids } from '../support/byte-text.mjs';
import { clientOf } from '../support/openai-client.js';
import { ScriptedEngine, saying } from '../support/scripted-engine.js';
import { serve, stopServing } from '../support/serving.js';

afterEach(stopServing);

describe('the official client', () => {
  test('gets a chat completion', async () => {
    const engine = new ScriptedEngine(saying('Hello there'));
    engine.cachedTokens = 3;
    const client = clientOf(await serve(engine));
    const answer = await client.chat.completions.create({
      ...{ model: 'test-model', messages: [{ role: 'user', content: 'Hi' }] },
    });
    expect(answer).toMatchObject({
      object: 'chat.completion',
      model: 'test-model',
      choices: [
        { index: 0, message: { role: 'assistant', content: 'Hello there' }, finish_reason: 'stop' },
      ],
      usage: {
        prompt_tokens: 6,
        completion_tokens: 12,
        total_tokens: 18,
        prompt_tokens_details: { cached_tokens: 3 },
      },
    });
    expect(answer.id).toMatch(/^chatcmpl-[0-9a-f]{32}$/);
    expect(answer._request_id).toMatch(/^req_/);
  });

  test('streams a chat completion', async () => {
    const client = clientOf(await serve(new ScriptedEngine(saying('Grüße 🙂'))));
    const stream = await client.chat.completions.create({
      ...{ model: 'test-model', messages: [{ role: 'user', content: 'Hi' }] },
      ...{ stream: true, stream_options: { include_usage: true } },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const deltas = chunks.map(({ choices: [choice] }) => choice?.delta.content ?? '');
    expect(deltas.join('')).toBe('Grüße 🙂');
    expect(chunks.at(-1)?.usage?.completion_tokens).toBe(13);
  });

  test('gets a completion of a plain prompt', async () => {
    const engine = new ScriptedEngine(saying(' world'));
    const client = clientOf(await serve(engine));
    const answer = await client.completions.create({ model: 'test-model', prompt: 'Hello' });
    expect(answer.choices).toMatchObject([{ index: 0, text: ' world', finish_reason: 'stop' }]);
    expect(engine.requests[0]).toMatchObject({ maxTokens: 16 });
    expect(engine.requests[0].prompt.at(0)).toBe(ids.bos);
  });

  test('lists the models, and finds the one by its name', async () => {
    const client = clientOf(await serve(new ScriptedEngine(saying(''), { name: 'org/model-1' })));
    const { data } = await client.models.list();
    expect(data.map(({ id }) => id)).toEqual(['org/model-1']);
    expect(await client.models.retrieve('org/model-1')).toMatchObject({ id: 'org/model-1' });
    await expect(client.models.retrieve('other')).rejects.toMatchObject({
      ...{ status: 404, code: 'model_not_found' },
    });
  });

  test('gets embeddings, as numbers and packed', async () => {
    const client = clientOf(await serve(new ScriptedEngine(saying(''), { embeddings: true })));
    const create = (encoding_format?: 'float') =>
      client.embeddings.create({ model: 'test-model', input: ['ab', 'c'], encoding_format });
    for (const { data, usage } of [await create('float'), await create()]) {
      expect(data.map(({ embedding }) => embedding)).toEqual([
        [3, 0.5, -0.25],
        [2, 0.5, -0.25],
      ]);
      expect(usage).toEqual({ prompt_tokens: 5, total_tokens: 5 });
    }
  });

  test('is told when the model gives no embeddings', async () => {
    const client = clientOf(await serve(new ScriptedEngine(saying(''))));
    const asked = client.embeddings.create({ model: 'test-model', input: 'ab' });
    await expect(asked).rejects.toMatchObject({ status: 400, code: 'model_not_supported' });
  });
});
