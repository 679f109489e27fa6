import type { ContextTransport, PartRequest } from 'flash-attention/serving';

/** A transport that counts what goes over it. */
export class CountedTransport implements ContextTransport<readonly Promise<Uint8Array>[]> {
  rounds = 0;
  messages = 0;
  sent = 0;
  received = 0;
  readonly #inner: ContextTransport;

  constructor(inner: ContextTransport) {
    this.#inner = inner;
  }

  reset(): void {
    Object.assign(this, { rounds: 0, messages: 0, sent: 0, received: 0 });
  }

  scatter(requests: readonly PartRequest[], signal: AbortSignal): readonly Promise<Uint8Array>[] {
    this.rounds++;
    this.messages += requests.length;
    for (const { bytes } of requests) this.sent += bytes.length;
    const replies = this.#inner.gather(this.#inner.scatter(requests, signal));
    return replies.map(async (reply) => {
      const bytes = await reply;
      this.received += bytes.length;
      return bytes;
    });
  }

  gather(sent: readonly Promise<Uint8Array>[]): readonly Promise<Uint8Array>[] {
    return sent;
  }
}
