import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readChatTemplate } from '../../src/model/chat-template.js';
import type { Chat } from '../../src/text/contract.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-serve-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const config = { bos_token: { content: '<s>' }, eos_token: '</s>' };

function render(source: string, chat: Chat): string | undefined {
  writeFileSync(path.join(folder, 'chat_template.jinja'), source);
  return readChatTemplate(folder, config)?.render(chat);
}

const chat: Chat = {
  messages: [
    { role: 'system', content: 'Be brief. ' },
    { role: 'user', content: ' Hi' },
    { role: 'assistant', content: '<think>A greeting.</think>Hello' },
    { role: 'user', content: 'Bye' },
  ],
};

// What families write their templates with: each feature once, in the format of the family.
const headers = `{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{%- if not date_string is defined %}{%- set date_string = strftime_now("%Y") %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if date_string | length == 4 %}{{- "Year known.\\n" }}{%- endif %}
{{- system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}`;

const reasoning = `{%- set ns = namespace(last_user=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{%- set ns.last_user = loop.index0 %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == 'assistant' and '</think>' in content and loop.index0 < ns.last_user %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' ~ message.role ~ '\\n' ~ content ~ '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}`;

const turns = `{{ bos_token }}
{%- if messages[0].role == 'system' -%}
    {%- set first_user_prefix = messages[0].content | trim + '\\n\\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = '' -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- set role = 'model' if message.role == 'assistant' else message.role -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else '') }}
    {%- if message.content is string -%}{{ message.content | trim }}{%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}`;

const instructions = `{%- set user_messages = messages | selectattr('role', 'equalto', 'user') | list %}
{{- bos_token }}
{%- for message in messages | rejectattr('role', 'equalto', 'system') %}
    {%- if message.role == 'user' %}
        {%- if message == user_messages[-1] and messages[0].role == 'system' %}
            {{- '[INST] ' + messages[0].content + '\\n\\n' + message.content + '[/INST]' }}
        {%- else %}
            {{- '[INST] ' + message.content + '[/INST]' }}
        {%- endif %}
    {%- else %}
        {%- generation %}{{- ' ' + message.content | trim + eos_token }}{%- endgeneration %}
    {%- endif %}
{%- endfor %}`;

const macros = `{%- macro turn(role, text, end='<|end|>') -%}
<|{{ role }}|>
{{ text }}{{ end }}
{% endmacro -%}
{%- if tools %}{{- turn('tools', tools | tojson(indent=2)) }}{%- endif %}
{%- for message in messages %}
    {%- if message.tool_calls %}
        {%- for call in message.tool_calls %}{{- turn('call', call | tojson) }}{%- endfor %}
    {%- elif loop.last or message.role in ('user', 'tool') %}
        {{- turn(message.role, message.content) }}
    {%- endif %}
{%- endfor %}
{{- '<|assistant|>' if add_generation_prompt else eos_token }}`;

test('turns with headers, slices and the date (Llama 3)', () => {
  expect(render(headers, chat)).toBe(
    '<s><|start_header_id|>system<|end_header_id|>\n\nYear known.\nBe brief.<|eot_id|>' +
      '<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>' +
      '<|start_header_id|>assistant<|end_header_id|>\n\n' +
      '<think>A greeting.</think>Hello<|eot_id|>' +
      '<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>' +
      '<|start_header_id|>assistant<|end_header_id|>\n\n',
  );
  expect(render(headers, { ...chat, variables: { date_string: '26 Jul' } })).not.toContain('Year');
});

test('a namespace, and reasoning that is left out of former answers (Qwen)', () => {
  const expected =
    '<|im_start|>system\nBe brief. <|im_end|>\n<|im_start|>user\n Hi<|im_end|>\n' +
    '<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n' +
    '<|im_start|>assistant\n';
  expect(render(reasoning, chat)).toBe(expected);
  const without = render(reasoning, { ...chat, variables: { enable_thinking: false } });
  expect(without).toBe(`${expected}<think>\n\n</think>\n\n`);
});

test('turns that must alternate (Gemma)', () => {
  expect(render(turns, chat)).toBe(
    '<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n' +
      '<start_of_turn>model\n<think>A greeting.</think>Hello<end_of_turn>\n' +
      '<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n',
  );
  const twice: Chat = { messages: [...chat.messages, { role: 'user', content: 'Again' }] };
  expect(() => render(turns, twice)).toThrow(
    expect.objectContaining({
      name: 'ChatTemplateError',
      message: 'Roles must alternate user/assistant/user/assistant/...',
    }),
  );
});

test('filters by attribute and a generation block (Mistral)', () => {
  expect(render(instructions, chat)).toBe(
    '<s>[INST]  Hi[/INST] <think>A greeting.</think>Hello</s>[INST] Be brief. \n\nBye[/INST]',
  );
});

test('macros, and tools as indented JSON (Phi)', () => {
  const call = { id: '1', type: 'function', function: { name: 'add', arguments: '{"a":1}' } };
  const rendered = render(macros, {
    messages: [
      { role: 'user', content: '1+1?' },
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', content: '2', tool_call_id: '1' },
    ],
    tools: [{ type: 'function', function: { name: 'add' } }],
  });
  expect(rendered).toBe(
    `<|tools|>
[
  {
    "type": "function",
    "function": {
      "name": "add"
    }
  }
]<|end|>
<|user|>
1+1?<|end|>
<|call|>
{"id": "1", "type": "function", "function": {"name": "add", "arguments": "{\\"a\\":1}"}}<|end|>
<|tool|>
2<|end|>
<|assistant|>`,
  );
});

test('the template is found where the files of a model have it', () => {
  const find = (given: object) => readChatTemplate(folder, { ...config, ...given })?.source;
  expect(find({})).toBeUndefined();
  expect(find({ chat_template: 'in the config' })).toBe('in the config');
  const named = [
    { name: 'tool_use', template: 'for tools' },
    { name: 'default', template: 'for all' },
  ];
  expect(find({ chat_template: named })).toBe('for all');
  writeFileSync(path.join(folder, 'chat_template.json'), '{ "chat_template": "beside it" }');
  expect(find({})).toBe('beside it');
  writeFileSync(path.join(folder, 'chat_template.jinja'), 'of its own');
  expect(find({ chat_template: 'in the config' })).toBe('of its own');
});

test('variables of a request replace nothing that the template is given', () => {
  const variables = { messages: [], bos_token: 'x', add_generation_prompt: false, tone: 'calm' };
  const source =
    "{{ bos_token }}{{ messages | length }}{{ 'open' if add_generation_prompt }}{{ tone }}";
  expect(render(source, { ...chat, variables })).toBe('<s>4opencalm');
});
