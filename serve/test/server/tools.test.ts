import fc from 'fast-check';
import { ToolCallReader } from '../../src/server/answer/tool-calls.js';
import { clientOf } from '../support/openai-client.js';
import { ScriptedEngine, saying } from '../support/scripted-engine.js';
import { type Json, jsonOf, promptsWith, serve, stopServing } from '../support/serving.js';

afterEach(stopServing);

const chat = '/v1/chat/completions';
const parameters = { type: 'object', properties: { city: { type: 'string' } } };
const tools = [{ type: 'function' as const, function: { name: 'weather', parameters } }];
const body = {
  model: 'test-model',
  messages: [{ role: 'user' as const, content: 'Rain?' }],
  tools,
};
const call = (city: string) =>
  `<tool_call>\n{"name": "weather", "arguments": {"city": "${city}"}}\n</tool_call>`;

/** Serves a model whose template has tools in the form that is read. */
async function serveTools(answer: string) {
  const engine = new ScriptedEngine(saying(answer));
  return serve(engine, {}, promptsWith('{{ tools }}<tool_call>', engine));
}

test('a call is told as a call, in one piece and as a stream', async () => {
  const client = clientOf(await serveTools(`Let me see.\n${call('Oslo')}\n${call('Rome')}`));
  const { choices } = await client.chat.completions.create(body);
  expect(choices[0]).toMatchObject({
    finish_reason: 'tool_calls',
    message: { content: 'Let me see.' },
  });
  const whole = choices[0].message.tool_calls as Json[];
  expect(whole.map(({ type, function: f }) => [type, f.name, JSON.parse(f.arguments)])).toEqual([
    ['function', 'weather', { city: 'Oslo' }],
    ['function', 'weather', { city: 'Rome' }],
  ]);
  expect(new Set(whole.map(({ id }) => id)).size).toBe(2);

  const stream = client.chat.completions.stream(body);
  const final = await stream.finalChatCompletion();
  expect(final.choices[0].finish_reason).toBe('tool_calls');
  expect(final.choices[0].message.content).toBe('Let me see.');
  expect(final.choices[0].message.tool_calls?.map((each: Json) => each.function.arguments)).toEqual(
    whole.map((each) => each.function.arguments),
  );
});

test('an answer that is a call alone has no content', async () => {
  const { post } = await serveTools(call('Oslo'));
  const { choices } = await jsonOf(post(chat, body));
  expect(choices[0].message.content).toBeNull();
});

test('an answer without a call has no list of calls', async () => {
  const { post } = await serveTools('It <tool_call> rains. ');
  const { choices } = await jsonOf(post(chat, body));
  expect(choices[0].message).toEqual({
    ...{ role: 'assistant', content: 'It <tool_call> rains. ', refusal: null },
  });
  expect(choices[0].finish_reason).toBe('stop');
});

test('a call that the limit cut is text, and the answer ends as length', async () => {
  const { post } = await serveTools(call('Oslo'));
  const { choices } = await jsonOf(post(chat, { ...body, max_tokens: 19 }));
  expect(choices[0]).toMatchObject({
    ...{ message: { content: '<tool_call>\n{"name"' }, finish_reason: 'length' },
  });
  expect(choices[0].message).not.toHaveProperty('tool_calls');
});

test('a first call and a cut second one end as length', async () => {
  const { post } = await serveTools(call('Oslo') + call('Rome'));
  const { choices } = await jsonOf(post(chat, { ...body, max_tokens: call('Oslo').length + 9 }));
  expect(choices[0].finish_reason).toBe('length');
  expect(choices[0].message.tool_calls).toHaveLength(1);
});

test.each<[string, object, string]>([
  ['required', { tool_choice: 'required' }, 'tool_choice'],
  ['a certain tool', { tool_choice: { type: 'function' } }, 'tool_choice'],
  ['what is no tool', { tools: [{ type: 'retrieval' }] }, 'tools[0].type'],
])('%s is refused', async (_, fields, param) => {
  const { post } = await serveTools('a');
  const response = await post(chat, { ...body, ...fields });
  expect(response.status).toBe(400);
  expect(await jsonOf(response)).toMatchObject({ error: { param } });
});

test('a model whose template knows no tools refuses them, unless none may be called', async () => {
  const { post } = await serve(new ScriptedEngine(saying(call('Oslo'))));
  expect(await jsonOf(post(chat, body))).toMatchObject({
    error: { param: 'tools', code: 'model_not_supported' },
  });
  const { choices } = await jsonOf(post(chat, { ...body, tool_choice: 'none' }));
  expect(choices[0].message.content).toBe(call('Oslo'));
});

test('arguments reach the template as an object, whatever they are', async () => {
  const engine = new ScriptedEngine(saying('a'));
  const prompts = promptsWith('<tool_call>', engine);
  const { post } = await serve(engine, {}, prompts);
  const encoded: Json[] = [];
  const encode = prompts.encode.bind(prompts);
  prompts.encode = (task, signal) => {
    encoded.push(task);
    return encode(task, signal);
  };
  for (const given of ['{"a":1}', 'no JSON', undefined]) {
    const tool_calls = [{ id: '1', type: 'function', function: { name: 'f', arguments: given } }];
    const messages = [{ role: 'assistant', content: null, tool_calls }];
    expect((await post(chat, { messages })).status).toBe(200);
  }
  const args = encoded.map(({ messages }) => messages[0].tool_calls[0].function.arguments);
  expect(args).toEqual([{ a: 1 }, 'no JSON', undefined]);
  const deep = { name: 'f', arguments: '['.repeat(100_000) + ']'.repeat(100_000) };
  const messages = [{ role: 'assistant', tool_calls: [{ function: deep }] }];
  expect((await post(chat, { messages })).status).toBe(400);
});

test('however an answer is cut into pieces, its text and its calls are the same', () => {
  const part = fc.constantFrom(
    call('Oslo'),
    '<tool_call>',
    '</tool_call>',
    ' ',
    'a',
    '<tool',
    '{}',
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), fc.array(fc.nat(20)), (parts, lengths) => {
      const read = (pieces: readonly string[]) => {
        const reader = new ToolCallReader();
        const found = pieces.map((piece) => reader.push(piece));
        const text = found.map((each) => each.text).join('') + reader.end();
        return [text, found.flatMap(({ calls }) => calls.map((each) => each.function.arguments))];
      };
      let rest = parts.join('');
      const pieces = lengths.map((length) => {
        const piece = rest.slice(0, length);
        rest = rest.slice(length);
        return piece;
      });
      expect(read([...pieces, rest])).toEqual(read([parts.join('')]));
    }),
  );
});
