import type { FastifyInstance } from 'fastify';
import type { ServerContext } from '../context.js';
import { badRequest } from '../errors.js';
import { checkEmbedding, embeddingBody } from '../request/embedding.js';
import { checkModel } from '../request/generation.js';
import { parseBody } from '../request/parse.js';
import { listOf } from '../request/text-or-ids.js';
import { encodeOrCheck, goneSignal } from './answer.js';

/** POST /v1/embeddings, of models whose hidden states can be had. */
export function embeddingRoute(app: FastifyInstance, context: ServerContext): void {
  const { engine } = context;
  app.post('/v1/embeddings', async (request, reply) => {
    const gone = goneSignal(reply);
    const body = parseBody(embeddingBody, request);
    checkModel(body.model, engine.info);
    checkEmbedding(body);
    if (!engine.info.embeddings) {
      const message = `The model '${engine.info.name}' gives no hidden states, so no embeddings.`;
      throw badRequest(message, 'model', 'model_not_supported');
    }
    const data: object[] = [];
    let tokens = 0;
    for (const [index, input] of listOf(body.input, 'input').entries()) {
      const ids = await encodeOrCheck(context, input, 'input', gone);
      gone.throwIfAborted();
      const vector = await engine.embed(ids, gone);
      const embedding = body.encoding_format === 'base64' ? base64(vector) : Array.from(vector);
      data.push({ object: 'embedding', index, embedding });
      tokens += ids.length;
    }
    const usage = { prompt_tokens: tokens, total_tokens: tokens };
    return { object: 'list', data, model: engine.info.name, usage };
  });
}

const base64 = ({ buffer, byteOffset, byteLength }: Float32Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('base64');
