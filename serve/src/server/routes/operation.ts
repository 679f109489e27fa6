import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import type { Engine, EngineStats } from '../../engine/contract.js';
import type { ServerContext } from '../context.js';
import { unavailable } from '../errors.js';
import { EngineMetrics } from '../metrics/engine-metrics.js';

/** Milliseconds that the engine has to tell its numbers; it does so between two steps. */
const patience = 5000;

/** For those who run the server: /health, /metrics, and /stats for the chat page. */
export function operationRoutes(app: FastifyInstance, context: ServerContext): void {
  const { engine, metrics } = context;
  const engineMetrics = new EngineMetrics(metrics.registry);

  // Whether requests can be sent here.
  app.get('/health', { config: { open: true } }, async (_request, reply) => {
    const status = context.isDraining ? 'draining' : engineStatus(engine);
    return reply.code(status === 'ok' ? 200 : 503).send({ status });
  });

  // Whether the process is of use: no other thread can be started while one hangs.
  app.get('/health/live', { config: { open: true } }, async (_request, reply) => {
    return reply.code(engine.stuck ? 503 : 200).send({ status: engine.stuck ? 'stuck' : 'ok' });
  });

  app.get('/metrics', { config: { open: true } }, async (_request, reply) => {
    // While the engine starts again there are still the server's own; while it is in a long step,
    // the numbers that it told last.
    await statsOf(context).then(
      (stats) => engineMetrics.set(stats),
      () => {
        if (!engine.healthy) engineMetrics.set(undefined);
      },
    );
    return reply.type(metrics.registry.contentType).send(await metrics.registry.metrics());
  });

  app.get('/stats', async () => {
    const { info } = engine;
    const model = { name: info.name, context_length: info.contextLength };
    return { model, ...(await statsOf(context)) };
  });
}

function engineStatus({ healthy, stuck }: Engine): 'ok' | 'stuck' | 'unavailable' {
  if (stuck) return 'stuck';
  return healthy ? 'ok' : 'unavailable';
}

async function statsOf({ engine }: ServerContext): Promise<EngineStats> {
  const late = new AbortController();
  const timeout = delay(patience, undefined, { signal: late.signal, ref: false }).then(() => {
    throw unavailable('The engine is busy.');
  });
  try {
    return await Promise.race([engine.stats(), timeout]);
  } finally {
    timeout.catch(() => undefined);
    late.abort();
  }
}
