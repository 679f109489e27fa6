import type { FastifyInstance } from 'fastify';
import type { ServerContext } from '../context.js';
import { checkModel } from '../request/generation.js';

/** GET /v1/models and /v1/models/:model. */
export function modelRoutes(app: FastifyInstance, { engine }: ServerContext): void {
  const created = Math.floor(Date.now() / 1000);
  const model = (): object => ({
    id: engine.info.name,
    object: 'model',
    created,
    owned_by: 'flash-attention-serve',
    max_model_len: engine.info.contextLength,
  });
  app.get('/v1/models', async () => ({ object: 'list', data: [model()] }));
  // Names of models have slashes in them.
  app.get<{ Params: { '*': string } }>('/v1/models/*', async ({ params }) => {
    checkModel(params['*'], engine.info);
    return model();
  });
}
