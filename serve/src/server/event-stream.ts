import type { ServerResponse } from 'node:http';

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
 * Server-sent events on a response. `send` waits for a slow reader, so that no more than a buffer
 * of text stands in memory; the engine waits for nobody.
 */
export class EventStream {
  readonly #response: ServerResponse;
  readonly #options: StreamOptions;
  readonly #heartbeat: NodeJS.Timeout;
  #drained: Promise<void> | undefined;

  constructor(
    response: ServerResponse,
    options: StreamOptions,
    moreHeaders: Readonly<Record<string, string | string[] | number | undefined>>,
  ) {
    this.#response = response;
    this.#options = options;
    response.writeHead(200, { ...moreHeaders, ...headers });
    response.flushHeaders();
    this.#heartbeat = setInterval(() => this.#comment(), options.heartbeat);
    response.once('close', () => clearInterval(this.#heartbeat));
  }

  /** One event. Resolves when the reader has room for the next, or is gone. */
  async send(data: object): Promise<void> {
    await this.#write(`data: ${JSON.stringify(data)}\n\n`);
  }

  /** Says that the answer is complete, and ends. */
  done(): void {
    this.#end('data: [DONE]\n\n');
  }

  /** Says what went wrong, and ends without the mark of a complete answer. */
  fail(error: object): void {
    this.#end(`data: ${JSON.stringify(error)}\n\n`);
  }

  #end(last: string): void {
    clearInterval(this.#heartbeat);
    if (!this.#response.destroyed) this.#response.end(last);
  }

  async #write(text: string): Promise<void> {
    if (this.#response.destroyed) return;
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
