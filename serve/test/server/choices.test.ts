import { ScriptedEngine, saying } from '../support/scripted-engine.js';
import { eventsOf, type Json, jsonOf, serve, stopServing } from '../support/serving.js';

afterEach(stopServing);

const hello = { messages: [{ role: 'user', content: 'Hi' }] } as const;

describe('several choices', () => {
  const engine = () =>
    new ScriptedEngine((request, index) => saying(`answer ${index}`)(request, index));

  test('have an index each; the prompt counts once, what was made is summed', async () => {
    const scripted = engine();
    scripted.cachedTokens = 2;
    const { post } = await serve(scripted);
    const { choices, usage } = await jsonOf(post('/v1/chat/completions', { ...hello, n: 3 }));
    expect(choices.map((choice: Json) => [choice.index, choice.message.content])).toEqual([
      [0, 'answer 0'],
      [1, 'answer 1'],
      [2, 'answer 2'],
    ]);
    expect(usage).toEqual({
      prompt_tokens: 6,
      completion_tokens: 27,
      total_tokens: 33,
      prompt_tokens_details: { cached_tokens: 2 },
    });
  });

  test('are told apart in a stream, and end each for itself', async () => {
    const { post } = await serve(engine());
    const response = await post('/v1/chat/completions', { ...hello, n: 2, stream: true });
    const chunks = (await eventsOf(response)).slice(0, -1);
    for (const index of [0, 1]) {
      const mine = chunks.map(({ choices: [choice] }) => choice).filter((c) => c.index === index);
      expect(mine.map(({ delta }) => delta.content ?? '').join('')).toBe(`answer ${index}`);
      expect(mine.map(({ delta }) => delta.role)).toEqual(
        mine.map((_, i) => (i === 0 ? 'assistant' : undefined)),
      );
      expect(mine.at(-1).finish_reason).toBe('stop');
    }
  });

  test('of several prompts have the index of prompt and choice', async () => {
    const { post } = await serve(engine());
    const body = { prompt: ['a', [1, 2, 3]], n: 2 };
    const { choices, usage } = await jsonOf(post('/v1/completions', body));
    expect(choices.map(({ index, text }: Json) => [index, text])).toEqual([
      [0, 'answer 0'],
      [1, 'answer 1'],
      [2, 'answer 2'],
      [3, 'answer 3'],
    ]);
    expect(usage.prompt_tokens).toBe(2 + 3);
  });

  test('draw from different seeds that follow from the given one', async () => {
    const scripted = engine();
    const { post } = await serve(scripted);
    await post('/v1/chat/completions', { ...hello, n: 2, seed: 7 });
    expect(scripted.requests.map(({ sampling }) => sampling.seed)).toEqual([7, 8]);
  });
});
