import { z } from 'zod';
import type { Chat, ChatMessage } from '../../text/contract.js';
import { writesToolCalls } from '../answer/tool-calls.js';
import { badRequest } from '../errors.js';
import { generationFields } from './generation-fields.js';
import { checkWellFormed } from './well-formed.js';

const textPart = z.object(
  { type: z.literal('text'), text: z.string() },
  { error: "expected parts of type 'text': this server reads no images, audio or files" },
);

const content = z
  .union([z.string(), z.array(textPart)], {
    error: "expected a string or parts of type 'text': this server reads no images, audio or files",
  })
  .nullish();

const message = z.object(
  {
    role: z.enum(['system', 'developer', 'user', 'assistant', 'tool'], {
      error: "expected 'system', 'developer', 'user', 'assistant' or 'tool'",
    }),
    content,
    name: z.string().nullish(),
    tool_call_id: z.string().nullish(),
    tool_calls: z.array(z.record(z.string(), z.unknown())).max(128).nullish(),
    reasoning_content: z.string().nullish(),
  },
  { error: 'expected an object with role and content' },
);

const tool = z.object(
  {
    type: z.literal('function'),
    function: z.looseObject({ name: z.string() }),
  },
  { error: "expected { type: 'function', function: { name, … } }" },
);

/** Body of POST /v1/chat/completions. */
export const chatBody = z.object({
  ...generationFields,
  messages: z
    .array(message, { error: 'expected a list of messages' })
    .min(1, { error: 'expected at least one message' }),
  max_completion_tokens: generationFields.max_tokens,
  logprobs: z.boolean({ error: 'expected true or false' }).nullish(),
  top_logprobs: z
    .int({ error: 'expected a whole number from 0 to 20' })
    .min(0, { error: 'expected a whole number from 0 to 20' })
    .max(20, { error: 'expected a whole number from 0 to 20' })
    .nullish(),
  tools: z.array(tool, { error: 'expected a list of tools' }).max(128).nullish(),
  tool_choice: z
    .union([z.enum(['none', 'auto', 'required']), z.record(z.string(), z.unknown())], {
      error: "expected 'none', 'auto', 'required' or a tool",
    })
    .nullish(),
  chat_template_kwargs: z
    .record(z.string(), z.unknown(), { error: 'expected an object' })
    .nullish(),
  // Refused, see below.
  chat_template: z.unknown().optional(),
});

export type ChatBody = z.output<typeof chatBody>;

/**
 * What the template renders.
 * @param template the source of the model's chat template, if it has one
 * @throws ApiError for what the model or this server can't do
 */
export function chatOf(body: ChatBody, template: string | undefined): Chat {
  if (body.chat_template !== undefined) {
    // A template is a program: 116 bytes of one can run for a minute.
    throw badRequest(
      "'chat_template' is not supported: the model's own is used",
      'chat_template',
      'unsupported_parameter',
    );
  }
  if (template === undefined) {
    const message = 'This model has no chat template. /v1/completions takes plain prompts.';
    throw badRequest(message, 'messages', 'model_not_supported');
  }
  const tools = toolsOf(body, template);
  return {
    messages: body.messages.map(messageOf),
    ...(tools.length > 0 ? { tools } : {}),
    ...(body.chat_template_kwargs ? { variables: body.chat_template_kwargs } : {}),
  };
}

/** The tools that the model shall know of. */
function toolsOf({ tools, tool_choice: choice }: ChatBody, template: string): readonly object[] {
  if (!tools || tools.length === 0 || choice === 'none') return [];
  if (choice && choice !== 'auto') {
    const message = "'tool_choice' can be 'none' or 'auto': the model can't be made to call";
    throw badRequest(message, 'tool_choice', 'unsupported_parameter');
  }
  if (!writesToolCalls(template)) {
    const message = "The model's chat template knows no tools in a form that this server reads";
    throw badRequest(message, 'tools', 'model_not_supported');
  }
  return tools;
}

function messageOf(message: ChatBody['messages'][number]): ChatMessage {
  const { role, content, tool_calls, ...rest } = message;
  const given = Object.entries(rest).filter(([, value]) => value !== null && value !== undefined);
  return {
    // OpenAI's newer name for the same role. Templates know the older one.
    role: role === 'developer' ? 'system' : role,
    content: typeof content === 'object' && content !== null ? textOf(content) : (content ?? ''),
    ...(tool_calls ? { tool_calls: tool_calls.map(withArguments) } : {}),
    ...Object.fromEntries(given),
  };
}

/** Arguments as an object: templates write JSON of them, and of a string that has quotes. */
function withArguments(call: Readonly<Record<string, unknown>>): object {
  const { arguments: text, ...rest } = (call.function ?? {}) as Record<string, unknown>;
  if (typeof text !== 'string') return call;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return call;
  }
  if (typeof parsed === 'object' && parsed !== null) checkWellFormed(parsed);
  return { ...call, function: { ...rest, arguments: parsed } };
}

const textOf = (parts: readonly { readonly text: string }[]): string =>
  parts.map(({ text }) => text).join('\n');
