import type { Engine } from '../engine/contract.js';
import type { PromptEncoder } from '../text/prompt-encoder.js';
import type { AccessOptions } from './access/caller.js';
import type { StreamOptions } from './event-stream.js';
import type { ServerMetrics } from './metrics/server-metrics.js';
import type { SamplingDefaults } from '../model/settings.js';

/** How the server behaves. */
export interface ServerOptions extends AccessOptions {
  readonly samplingDefaults: SamplingDefaults;
  /** Tokens of an answer when the request sets no limit. */
  readonly defaultMaxTokens: number;
  readonly maxBodyBytes: number;
  /** For idle connections; longer than the load balancer's, which would meet closed ones else. */
  readonly keepAliveSeconds: number;
  readonly stream: StreamOptions;
  readonly log: {
    readonly level: string;
    /** Default: standard output. */
    readonly stream?: { write(line: string): void };
  };
}

/** What the routes share. */
export interface ServerContext {
  readonly engine: Engine;
  readonly prompts: PromptEncoder;
  readonly options: ServerOptions;
  readonly metrics: ServerMetrics;
  /** No new requests: the server is about to stop. */
  isDraining: boolean;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The name of the API key; undefined on a server without keys. */
    caller: string | undefined;
  }

  interface FastifyContextConfig {
    /** Answers without a key, and while the server is about to stop. */
    open?: boolean;
  }
}
