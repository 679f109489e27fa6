import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import { identify } from './access/caller.js';
import { requestId } from './access/request-id.js';
import { refuseConnection } from './client-error.js';
import type { ServerContext } from './context.js';
import { sendError, toApiError, unavailable, unknownUrl } from './errors.js';
import type { ServerMetrics } from './metrics/server-metrics.js';
import { routes } from './routes/index.js';
import { Turns } from './turns.js';

/** In logs and metrics, as nginx has it: the client went away before it had its response. */
const clientGone = 499;

/** The HTTP application: what holds for every route, and the routes. */
export function createApp(context: ServerContext): FastifyInstance {
  const { options, metrics } = context;
  const app = Fastify({
    logger: options.log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: options.maxBodyBytes,
    keepAliveTimeout: options.keepAliveSeconds * 1000,
    // Time to send a request in; Node's headersTimeout is shorter and has to be.
    requestTimeout: 120_000,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    requestIdHeader: false,
    genReqId: requestId,
    clientErrorHandler: refuseConnection,
    frameworkErrors: (error: FastifyError, _request, reply) => sendError(reply, error),
  });

  app.removeContentTypeParser('text/plain');
  // What curl -d says of any body. A browser's form says so too, but comes with an Origin.
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    app.getDefaultJsonParser('error', 'error'),
  );

  app.decorateRequest('caller', undefined);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
    reply.header('x-content-type-options', 'nosniff');
    // fastify's own hook says nothing of clients that went away.
    reply.raw.once('close', () => recordResponse(metrics, request, reply));
    if (request.routeOptions.config.open) return;
    request.caller = identify(request, options);
    if (context.isDraining) {
      reply.header('connection', 'close');
      throw unavailable('The server is shutting down.', 5);
    }
  });
  const turns = new Turns();
  app.addHook('preHandler', () => turns.next());

  app.setErrorHandler((error, request, reply) => {
    // Nobody reads what a client that went away would have been told.
    if (reply.raw.destroyed) return reply;
    if (toApiError(error).details.status >= 500) request.log.error(error);
    return sendError(reply, error);
  });
  app.setNotFoundHandler((request) => {
    throw unknownUrl(request.method, request.url);
  });

  app.register(async (scope) => routes(scope, context));
  return app;
}

/** One line and one count for each response. No line has text of prompts or answers. */
function recordResponse(
  metrics: ServerMetrics,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const { url: route = 'unknown', config } = request.routeOptions;
  const status = reply.raw.writableFinished ? reply.raw.statusCode : clientGone;
  metrics.responses.inc({ route, status });
  const line = { method: request.method, route, status, milliseconds: reply.elapsedTime };
  if (config.open) request.log.debug(line);
  else request.log.info(line);
}
