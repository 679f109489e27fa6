import type { FastifyInstance } from 'fastify';
import { chatFormat } from '../answer/chat-format.js';
import { newEnvelope } from '../answer/format.js';
import type { ServerContext } from '../context.js';
import { badRequest } from '../errors.js';
import { type ChatBody, chatBody, chatOf } from '../request/chat.js';
import { checkModel, planGeneration } from '../request/generation.js';
import { parseBody } from '../request/parse.js';
import { answer, encodePrompt, generationContext, goneSignal, maxTokensOf } from './answer.js';

/** POST /v1/chat/completions. */
export function chatRoute(app: FastifyInstance, context: ServerContext): void {
  const { info } = context.engine;
  app.post('/v1/chat/completions', async (request, reply) => {
    const gone = goneSignal(reply);
    const body = parseBody(chatBody, request);
    checkModel(body.model, info);
    const topLogprobs = topLogprobsOf(body);
    const chat = chatOf(body, context.prompts.text.chatTemplate);
    const prompt = await encodePrompt(context, chat, 'messages', gone);
    const asked = body.max_completion_tokens ?? body.max_tokens;
    const plan = planGeneration(
      body,
      prompt,
      {
        maxTokens: maxTokensOf(context, asked, prompt.length),
        topLogprobs,
        toolCalls: chat.tools !== undefined,
      },
      generationContext(context, request, body),
    );
    const format = chatFormat(newEnvelope('chatcmpl', info.name), topLogprobs !== undefined);
    return answer(context, reply, [plan], format, body, gone);
  });
}

function topLogprobsOf({ logprobs, top_logprobs }: ChatBody): number | undefined {
  if (logprobs) return top_logprobs ?? 0;
  if (top_logprobs === undefined || top_logprobs === null) return undefined;
  throw badRequest("Invalid 'top_logprobs': 'logprobs' has to be true", 'top_logprobs');
}
