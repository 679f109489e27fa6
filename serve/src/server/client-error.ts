import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { ApiError } from './errors.js';

/** Answers what isn't HTTP, came too slowly or has too long headers, and hangs up. */
export function refuseConnection(error: Error & { code?: string }, socket: Socket): void {
  if (error.code !== 'ECONNRESET' && socket.writable) {
    const { body, details } = refusalOf(error.code);
    const text = JSON.stringify(body);
    socket.write(
      `HTTP/1.1 ${details.status} ${STATUS_CODES[details.status]}\r\n` +
        `content-type: application/json; charset=utf-8\r\ncontent-length: ${text.length}\r\n` +
        `connection: close\r\n\r\n${text}`,
    );
  }
  socket.destroySoon();
}

function refusalOf(code: string | undefined): ApiError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ApiError('The request came too slowly.', { status: 408, code: 'timeout' });
    case 'HPE_HEADER_OVERFLOW':
      return new ApiError('The headers are too long.', { status: 431, code: 'headers_too_large' });
    default:
      return new ApiError('This is not HTTP/1.1.', { status: 400, code: 'bad_request' });
  }
}
