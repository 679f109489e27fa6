import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** The client's X-Request-Id when it is short and plain, else one of ours. Only ever echoed. */
export function requestId({ headers }: Pick<IncomingMessage, 'headers'>): string {
  const given = headers['x-request-id'];
  if (typeof given === 'string' && /^[\w.:-]{1,128}$/.test(given)) return given;
  return `req_${randomUUID().replaceAll('-', '')}`;
}
