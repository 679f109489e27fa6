import { ids } from '../support/byte-text.mjs';
import { ScriptedEngine, saying, tokensOf } from '../support/scripted-engine.js';
import { eventsOf, jsonOf, serve, stopServing } from '../support/serving.js';

afterEach(stopServing);

const hello = { messages: [{ role: 'user', content: 'Hi' }] } as const;

describe('how an answer ends', () => {
  const reasonOf = async (engine: ScriptedEngine, body: object) => {
    const { post } = await serve(engine);
    const whole = await jsonOf(post('/v1/chat/completions', { ...hello, ...body }));
    const response = await post('/v1/chat/completions', { ...hello, ...body, stream: true });
    const events = await eventsOf(response);
    const [last] = events.at(-2)?.choices ?? [];
    // A stream tells what a response in one piece tells.
    expect(last.finish_reason).toBe(whole.choices[0].finish_reason);
    const deltas = events.slice(0, -1).map(({ choices: [{ delta }] }) => delta.content ?? '');
    expect(deltas.join('')).toBe(whole.choices[0].message.content);
    return { ...whole.choices[0], text: whole.choices[0].message.content, usage: whole.usage };
  };

  test('at the limit it is length, not stop', async () => {
    const engine = new ScriptedEngine(saying('abcdef'));
    expect(await reasonOf(engine, { max_tokens: 3 })).toMatchObject({
      ...{ text: 'abc', finish_reason: 'length', stop_reason: null },
    });
  });

  test('max_completion_tokens is another name of max_tokens', async () => {
    const engine = new ScriptedEngine(saying('abcdef'));
    const answer = await reasonOf(engine, { max_completion_tokens: 2 });
    expect(answer).toMatchObject({ text: 'ab', finish_reason: 'length' });
  });

  test('at a stop string it is stop, and tokens after it are not counted', async () => {
    const engine = new ScriptedEngine(saying('one STOP two'));
    const answer = await reasonOf(engine, { stop: ['STOP'] });
    expect(answer).toMatchObject({ text: 'one ', finish_reason: 'stop', stop_reason: 'STOP' });
    expect(answer.usage.completion_tokens).toBe(8);
  });

  test('the stop string is shown on request', async () => {
    const engine = new ScriptedEngine(saying('one STOP two'));
    const body = { stop: 'STOP', include_stop_str_in_output: true };
    expect(await reasonOf(engine, body)).toMatchObject({ text: 'one STOP' });
  });

  test('text that might have become a stop string is not lost at the limit', async () => {
    const engine = new ScriptedEngine(saying('the STAR'));
    const answer = await reasonOf(engine, { stop: ['STOP'], max_tokens: 6 });
    expect(answer).toMatchObject({ text: 'the ST', finish_reason: 'length' });
  });

  test('a stop string that is a control token stops at its id', async () => {
    const engine = new ScriptedEngine(function* (request) {
      yield* tokensOf('ab', request);
      yield { token: ids.turn };
      yield* tokensOf('cd', request);
    });
    const answer = await reasonOf(engine, { stop: ['<|turn|>'] });
    expect(answer).toMatchObject({ text: 'ab', finish_reason: 'stop', stop_reason: ids.turn });
  });

  test('the token of stop_token_ids is no part of the text', async () => {
    const engine = new ScriptedEngine(saying('ab.cd'));
    const answer = await reasonOf(engine, { stop_token_ids: [46] });
    expect(answer).toMatchObject({ text: 'ab', finish_reason: 'stop', stop_reason: 46 });
  });

  test('ignore_eos goes on after the end, whose token is no text', async () => {
    const engine = new ScriptedEngine(function* (request) {
      yield* tokensOf('ab', request);
      yield { token: ids.end };
      yield* tokensOf('cd', request);
    });
    const answer = await reasonOf(engine, { ignore_eos: true, max_tokens: 4 });
    expect(answer).toMatchObject({ text: 'abc', finish_reason: 'length' });
  });

  test('an incomplete character at the limit is flushed', async () => {
    const engine = new ScriptedEngine(saying('a日'));
    const answer = await reasonOf(engine, { max_tokens: 3 });
    expect(answer).toMatchObject({ text: 'a\ufffd', finish_reason: 'length' });
  });
});
