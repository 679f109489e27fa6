import { ids } from '../support/byte-text.mjs';
import { ScriptedEngine, saying } from '../support/scripted-engine.js';
import { jsonOf, serve, stopServing } from '../support/serving.js';

afterEach(stopServing);

describe('messages', () => {
  const promptOf = async (messages: object[]) => {
    const engine = new ScriptedEngine(saying('a'));
    const { post } = await serve(engine);
    const response = await post('/v1/chat/completions', { messages });
    return response.ok ? engine.requests[0].prompt : jsonOf(response);
  };
  const turn = (text: string) => [ids.turn, ...new TextEncoder().encode(text), ids.end];

  test('have text, parts of text, or nothing; the BOS stands once', async () => {
    const tool_calls = [{ id: '1', type: 'function', function: { name: 'f', arguments: '{}' } }];
    const parts = ['a', 'b'].map((text) => ({ type: 'text', text }));
    const prompt = await promptOf([
      { role: 'developer', content: 'be' },
      { role: 'user', content: parts },
      { role: 'assistant', content: null, tool_calls },
      { role: 'assistant', tool_calls },
      { role: 'tool', content: 'c', tool_call_id: '1' },
    ]);
    const turns = ['be', 'a\nb', '', '', 'c'].flatMap(turn);
    expect(Array.from(prompt)).toEqual([ids.bos, ...turns, ids.turn]);
  });

  test('that the template refuses are refused with its words', async () => {
    const short = [
      { role: 'user', content: 'a' },
      { role: 'system', content: 'b' },
    ];
    // A long prompt is encoded in a worker, and refused with the same words.
    const long = [short[1], { role: 'user', content: 'a'.repeat(5000) }, short[1]];
    for (const messages of [short, long]) {
      expect(await promptOf(messages)).toMatchObject({
        error: {
          message: 'The chat template refused the messages: System messages come first!',
          ...{ type: 'invalid_request_error', param: 'messages' },
        },
      });
    }
  });

  test('with images are refused', async () => {
    const image = { type: 'image_url', image_url: { url: 'data:,' } };
    expect(await promptOf([{ role: 'user', content: [image] }])).toMatchObject({
      error: { param: 'messages[0].content' },
    });
  });
});
