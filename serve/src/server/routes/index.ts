import type { FastifyInstance } from 'fastify';
import type { ServerContext } from '../context.js';
import { chatRoute } from './chat.js';
import { completionRoute } from './completions.js';
import { embeddingRoute } from './embeddings.js';
import { modelRoutes } from './models.js';
import { operationRoutes } from './operation.js';
import { pageRoute } from './page.js';

/** Everything that there is. */
export function routes(app: FastifyInstance, context: ServerContext): void {
  chatRoute(app, context);
  completionRoute(app, context);
  embeddingRoute(app, context);
  modelRoutes(app, context);
  operationRoutes(app, context);
  pageRoute(app);
}
