import { ScriptedEngine, saying } from '../support/scripted-engine.js';
import { serve, stopServing } from '../support/serving.js';

afterEach(stopServing);

const hello = { messages: [{ role: 'user', content: 'Hi' }] } as const;

describe('what the engine is asked for', () => {
  const askedFor = async (body: object, path = '/v1/chat/completions') => {
    const engine = new ScriptedEngine(saying('a'));
    const { post } = await serve(engine, { samplingDefaults: { temperature: 0.6, topK: 20 } });
    const response = await post(path, { ...hello, ...body });
    expect(response.status).toBe(200);
    return engine.requests[0];
  };

  test('is what the model says where the request says nothing; null is nothing', async () => {
    for (const temperature of [undefined, null]) {
      const { sampling, ...rest } = await askedFor({ temperature });
      expect(sampling).toMatchObject({ temperature: 0.6, topK: 20, topP: 1, minP: 0 });
      expect(rest).toMatchObject({ maxTokens: 1024, responseFormat: { type: 'text' } });
    }
  });

  test('is what the request says', async () => {
    const request = await askedFor({
      ...{ temperature: 0, top_p: 0.9, top_k: -1, min_p: 0.05, repetition_penalty: 1.1 },
      ...{ presence_penalty: 1, frequency_penalty: -1, logit_bias: { 5: -100 }, seed: 42 },
      ...{ max_tokens: 9, min_tokens: 2, stop_token_ids: [3], priority: 5 },
      ...{ num_speculative_tokens: 4, response_format: { type: 'json_object' } },
    });
    expect(request).toMatchObject({
      sampling: {
        ...{ temperature: 0, topP: 0.9, topK: 0, minP: 0.05, repetitionPenalty: 1.1 },
        ...{ presencePenalty: 1, frequencyPenalty: -1, seed: 42 },
      },
      ...{ maxTokens: 9, minTokens: 2, stopTokenIds: [3], priority: 5, speculativeTokens: 4 },
      responseFormat: { type: 'json_object' },
    });
    expect(request.sampling.logitBias).toEqual(new Map([[5, -100]]));
  });

  test('is the schema of response_format', async () => {
    const schema = { type: 'object', properties: { a: { type: 'integer' } } };
    const response_format = { type: 'json_schema', json_schema: { name: 'x', schema } };
    const { responseFormat } = await askedFor({ response_format });
    expect(responseFormat).toEqual({ type: 'json_schema', schema });
  });

  test('is no more than the context has room for', async () => {
    const { maxTokens, prompt } = await askedFor({ max_tokens: 1_000_000 });
    expect(maxTokens).toBe(4096 - prompt.length);
  });
});
