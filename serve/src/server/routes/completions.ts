import type { FastifyInstance } from 'fastify';
import { completionFormat } from '../answer/completion-format.js';
import { newEnvelope } from '../answer/format.js';
import type { ServerContext } from '../context.js';
import { checkCompletion, completionBody } from '../request/completion.js';
import { checkModel, type GenerationPlan, planGeneration } from '../request/generation.js';
import { parseBody } from '../request/parse.js';
import { listOf } from '../request/text-or-ids.js';
import { answer, encodeOrCheck, generationContext, goneSignal, maxTokensOf } from './answer.js';

/** Tokens of an answer when the request sets no limit, as in OpenAI's API. */
const defaultTokens = 16;

/** POST /v1/completions. */
export function completionRoute(app: FastifyInstance, context: ServerContext): void {
  const { info } = context.engine;
  app.post('/v1/completions', async (request, reply) => {
    const gone = goneSignal(reply);
    const body = parseBody(completionBody, request);
    checkModel(body.model, info);
    checkCompletion(body);
    const generation = generationContext(context, request, body);
    const topLogprobs = body.logprobs ?? undefined;
    const plans: GenerationPlan[] = [];
    for (const each of listOf(body.prompt, 'prompt')) {
      const prompt = await encodeOrCheck(context, each, 'prompt', gone);
      const maxTokens = maxTokensOf(context, body.max_tokens ?? defaultTokens, prompt.length);
      const route = { maxTokens, topLogprobs, toolCalls: false };
      plans.push(planGeneration(body, prompt, route, generation));
    }
    const format = completionFormat(newEnvelope('cmpl', info.name), topLogprobs !== undefined);
    return answer(context, reply, plans, format, body, gone);
  });
}
