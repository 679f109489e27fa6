import type { Server, ServerResponse } from 'node:http';

/** The responses of a server that have begun and not ended. */
export class OpenResponses {
  readonly #open = new Set<ServerResponse>();
  #whenEmpty: (() => void)[] = [];

  constructor(server: Server) {
    server.on('request', (_request, response: ServerResponse) => {
      this.#open.add(response);
      response.once('close', () => this.#ended(response));
    });
  }

  /** Resolves once none is open. */
  allEnded(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenEmpty.push(resolve));
  }

  #ended(response: ServerResponse): void {
    this.#open.delete(response);
    if (this.#open.size > 0) return;
    for (const resolve of this.#whenEmpty.splice(0)) resolve();
  }
}
