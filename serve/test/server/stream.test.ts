import { ScriptedEngine, saying } from '../support/scripted-engine.js';
import { eventsOf, type Json, serve, stopServing } from '../support/serving.js';

afterEach(stopServing);

const hello = { messages: [{ role: 'user', content: 'Hi' }] } as const;

describe('a stream', () => {
  test('has one id and one time, the role in the first delta only, the reason at the end', async () => {
    const { post } = await serve(new ScriptedEngine(saying('abc')));
    const response = await post('/v1/chat/completions', { ...hello, stream: true });
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(response.headers.get('cache-control')).toBe('no-cache, no-transform');
    expect(response.headers.get('x-accel-buffering')).toBe('no');
    const events = await eventsOf(response);
    expect(events.pop()).toBe('[DONE]');
    const chunks = events as Json[];
    expect(new Set(chunks.map(({ id, created }) => `${id} ${created}`)).size).toBe(1);
    expect(chunks.map(({ choices: [choice] }) => [choice.delta, choice.finish_reason])).toEqual([
      [{ role: 'assistant', content: 'a' }, null],
      [{ content: 'b' }, null],
      [{ content: 'c' }, null],
      [{}, 'stop'],
    ]);
    for (const chunk of chunks) expect(chunk).not.toHaveProperty('usage');
  });

  test.each([undefined, null, {}, { include_usage: false }])(
    'has no usage for stream_options %p',
    async (stream_options) => {
      const { post } = await serve(new ScriptedEngine(saying('abc')));
      const body = { ...hello, stream: true, stream_options };
      const events = await eventsOf(await post('/v1/chat/completions', body));
      expect(JSON.stringify(events)).not.toContain('usage');
    },
  );

  test('has the usage last, without choices, when asked for', async () => {
    const { post } = await serve(new ScriptedEngine(saying('ab')));
    const body = { ...hello, stream: true, stream_options: { include_usage: true } };
    const events = await eventsOf(await post('/v1/chat/completions', body));
    expect(events.pop()).toBe('[DONE]');
    expect(events.pop()).toMatchObject({ choices: [], usage: { completion_tokens: 3 } });
    for (const chunk of events) expect(chunk).toHaveProperty('usage', null);
  });

  test('of an answer without text has a role and a reason', async () => {
    const { post } = await serve(new ScriptedEngine(saying('')));
    const response = await post('/v1/chat/completions', { ...hello, stream: true });
    const [chunk] = await eventsOf(response);
    expect(chunk.choices).toMatchObject([
      { delta: { role: 'assistant', content: '' }, finish_reason: 'stop' },
    ]);
  });
});
