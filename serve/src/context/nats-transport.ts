import type { ContextPart, ContextTransport, PartRequest } from 'flash-attention/serving';
import type { NatsConnection, Subscription } from '@nats-io/transport-node';

/** Where the worker of a part listens. */
const subjectOf = (subject: string, part: number): string => `${subject}.${part}`;

/** Options of {@link natsTransport}. */
export interface NatsTransportOptions {
  /**
   * When a reply that never comes is forgotten: later than `timeoutMs` of the caller, which ends the
   * wait for it. Default 60 000.
   */
  forgetMs?: number;
}

/**
 * Context-parallel attention over NATS: a request and a reply per part and layer. Messages of one
 * connection arrive in their order, and where nobody listens NATS says so at once.
 *
 * @param subject As {@link answerOverNats} of the workers has it.
 */
export function natsTransport(
  connection: NatsConnection,
  subject: string,
  { forgetMs = 60_000 }: NatsTransportOptions = {},
): ContextTransport<readonly Promise<Uint8Array>[]> {
  const send = async ({ part, bytes }: PartRequest): Promise<Uint8Array> => {
    checkSize(connection, bytes);
    const reply = await connection.request(subjectOf(subject, part), bytes, { timeout: forgetMs });
    if (reply.data.length === 0) {
      throw new Error('the reply is larger than max_payload of nats-server');
    }
    return reply.data;
  };
  return { scatter: (requests) => requests.map(send), gather: (sent) => sent };
}

/**
 * Lets the requests for a part reach it. One worker listens for a part: with several, each of them
 * would append.
 *
 * @returns What ends it: `unsubscribe()` at once, `drain()` once all requests that came were
 * answered.
 */
export function answerOverNats(
  connection: NatsConnection,
  subject: string,
  part: ContextPart,
): Subscription {
  return connection.subscribe(subjectOf(subject, part.cut.part), {
    callback: (error, message) => {
      if (error) return; // the subscription has ended
      void part.answer(message.data).then((reply) => {
        if (connection.isClosed()) return;
        message.respond(fits(connection, reply) ? reply : undefined);
      });
    },
  });
}

function checkSize(connection: NatsConnection, { length }: Uint8Array): void {
  if (fits(connection, { length })) return;
  const most = connection.info?.max_payload;
  throw new Error(
    `a request of ${length} bytes is larger than max_payload of nats-server, ${most}: raise that, ` +
      'or send fewer tokens at a time',
  );
}

function fits({ info }: NatsConnection, { length }: { readonly length: number }): boolean {
  return info === undefined || length <= info.max_payload;
}
