import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import type { Engine } from '../engine/contract.js';
import type { PromptEncoder } from '../text/prompt-encoder.js';
import { createApp } from './app.js';
import type { ServerContext, ServerOptions } from './context.js';
import { ServerMetrics } from './metrics/server-metrics.js';
import { OpenResponses } from './open-responses.js';

/** Milliseconds that a finished answer has to reach a slow reader once the engine has stopped. */
const lastWrites = 2000;

/** A model on HTTP. */
export class Server {
  readonly #context: ServerContext;
  readonly #app: FastifyInstance;
  readonly #responses: OpenResponses;
  #closing: Promise<void> | undefined;

  constructor(engine: Engine, prompts: PromptEncoder, options: ServerOptions) {
    const metrics = new ServerMetrics(engine.info.name);
    this.#context = { engine, prompts, options, metrics, isDraining: false };
    this.#app = createApp(this.#context);
    this.#responses = new OpenResponses(this.#app.server);
  }

  /** @returns the address, such as `http://127.0.0.1:8080`. */
  async listen(host: string, port: number): Promise<string> {
    return this.#app.listen({ host, port });
  }

  /**
   * Takes no new requests, lets answers end for `deadline` milliseconds, ends them then, and stops
   * engine and server. Until the engine has stopped the port is open: /health says 503, so that a
   * load balancer looks elsewhere.
   */
  close(deadline: number): Promise<void> {
    this.#closing ??= this.#close(deadline);
    return this.#closing;
  }

  async #close(deadline: number): Promise<void> {
    this.#context.isDraining = true;
    await this.#context.engine.close(deadline);
    const closed = this.#app.close();
    const late = new AbortController();
    await Promise.race([
      this.#responses.allEnded(),
      delay(lastWrites, undefined, { signal: late.signal }).catch(() => undefined),
    ]);
    late.abort();
    // What is left waits for a next request, or never sent a first one, as browsers' do.
    this.#app.server.closeAllConnections();
    await closed;
    await this.#context.prompts.close();
  }
}
