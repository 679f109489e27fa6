import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import type { ApiError } from './errors.js';

/** How long a stream waits for its reader. */
export interface StreamOptions {
  /** Between two signs of life while there is nothing to say, in milliseconds. */
  readonly heartbeat: number;
  /** For a reader that takes nothing, in milliseconds. Then the connection is cut. */
  readonly stall: number;
}

const headers = {
  'content-type': 'text/event-stream; charset=utf-8',
  // Proxies must neither hold nor compress what comes.
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
};

/**
 * Server-sent events as a reply. The headers go out with the first event or the first sign of life:
 * until then the reply can still become an error with a status of its own. `send` waits for a slow
 * reader, so that no more than a buffer of text stands in memory; the engine waits for nobody.
 */
export class EventStream {
  readonly #reply: FastifyReply;
  readonly #response: ServerResponse;
  readonly #options: StreamOptions;
  readonly #heartbeat: NodeJS.Timeout;
  #drained: Promise<void> | undefined;

  constructor(reply: FastifyReply, options: StreamOptions) {
    this.#reply = reply;
    this.#response = reply.raw;
    this.#options = options;
    this.#heartbeat = setInterval(() => this.#comment(), options.heartbeat);
    reply.raw.once('close', () => this.#close());
  }

  /** Whether headers are out. */
  get isOpen(): boolean {
    return this.#reply.sent;
  }

  /** One event. Resolves when the reader has room for the next, or is gone. */
  async send(data: object): Promise<void> {
    await this.#write(`data: ${JSON.stringify(data)}\n\n`);
  }

  /** Says that the answer is complete, and ends. */
  done(): void {
    this.#end('data: [DONE]\n\n');
  }

  /**
   * Says what went wrong, and ends without the mark of a complete answer.
   * @throws the error itself while nothing has been sent
   */
  fail(error: ApiError): void {
    this.#close();
    if (!this.isOpen) throw error;
    this.#end(`data: ${JSON.stringify(error.body)}\n\n`);
  }

  #open(): void {
    if (this.isOpen) return;
    this.#reply.headers(headers).hijack();
    this.#response.writeHead(200, this.#reply.getHeaders() as OutgoingHttpHeaders);
    this.#response.flushHeaders();
  }

  #close(): void {
    clearInterval(this.#heartbeat);
  }

  #end(last: string): void {
    this.#close();
    if (!this.#response.destroyed) this.#response.end(last);
  }

  async #write(text: string): Promise<void> {
    if (this.#response.destroyed) return;
    this.#open();
    this.#heartbeat.refresh();
    if (this.#response.write(text)) return;
    this.#drained ??= this.#drain();
    await this.#drained;
  }

  /** A comment keeps clients and proxies from giving up on an answer that waits in the queue. */
  #comment(): void {
    if (!this.#response.writableNeedDrain) void this.#write(': waiting\n\n');
  }

  #drain(): Promise<void> {
    const response = this.#response;
    return new Promise((resolve) => {
      const patience = setTimeout(() => response.destroy(), this.#options.stall);
      const settle = (): void => {
        clearTimeout(patience);
        this.#drained = undefined;
        response.off('drain', settle).off('close', settle);
        resolve();
      };
      response.once('drain', settle).once('close', settle);
    });
  }
}
