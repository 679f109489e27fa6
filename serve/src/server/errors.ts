import type { FastifyReply } from 'fastify';
import type { EngineErrorShape } from '../engine/contract.js';
import { ChatTemplateError } from '../text/contract.js';
import { EncoderBusyError } from '../text/prompt-encoder.js';

/** The body of every error, as OpenAI's API has it. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

/** What an {@link ApiError} says beside its message. */
export interface ErrorDetails {
  readonly status: number;
  readonly code: string | null;
  /** The field of the request that is wrong. */
  readonly param?: string;
  /** Seconds, for Retry-After. */
  readonly retryAfter?: number;
}

/** A failure that the client is told about. Its message names no file and repeats no prompt. */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    message: string,
    readonly details: ErrorDetails,
  ) {
    super(message);
  }

  get body(): ErrorBody {
    const { status, code, param = null } = this.details;
    return { error: { message: this.message, type: typeOf(status), param, code } };
  }
}

/** A field of the request that can't be served. */
export function badRequest(message: string, param?: string, code = 'invalid_value'): ApiError {
  return new ApiError(message, { status: 400, code, param });
}

/** Without a model that answers nothing can be done now. */
export function unavailable(message: string, retryAfter = 1): ApiError {
  return new ApiError(message, { status: 503, code: 'engine_unavailable', retryAfter });
}

/** There is nothing at this address. */
export function unknownUrl(method: string, url: string): ApiError {
  const path = url.split('?', 1)[0].slice(0, 256);
  return new ApiError(`Unknown request URL: ${method} ${path}.`, {
    status: 404,
    code: 'unknown_url',
  });
}

/** Answers with what the client may see of anything thrown. */
export function sendError(reply: FastifyReply, thrown: unknown): FastifyReply {
  const { body, details } = toApiError(thrown);
  if (details.retryAfter !== undefined) reply.header('retry-after', Math.ceil(details.retryAfter));
  if (details.status === 401) reply.header('www-authenticate', 'Bearer');
  return reply.code(details.status).send(body);
}

function typeOf(status: number): string {
  if (status === 401) return 'authentication_error';
  if (status === 403) return 'permission_error';
  if (status === 429) return 'rate_limit_error';
  return status >= 500 ? 'server_error' : 'invalid_request_error';
}

/** Anything thrown as what the client may see. What is unknown to us stays in the log. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof ChatTemplateError) {
    return badRequest(`The chat template refused the messages: ${error.message}`, 'messages');
  }
  if (error instanceof EncoderBusyError) return tooMany(error.message, 1);
  if (isEngineError(error)) return fromEngine(error);
  if (isHttpError(error)) return fromFastify(error);
  return new ApiError('The server failed to answer this request.', {
    status: 500,
    code: 'internal_error',
  });
}

function tooMany(message: string, retryAfter: number): ApiError {
  return new ApiError(message, { status: 429, code: 'rate_limit_exceeded', retryAfter });
}

const engineCodes: ReadonlySet<unknown> = new Set<EngineErrorShape['code']>([
  'context_length_exceeded',
  'queue_full',
  'invalid_request',
  'engine_unavailable',
  'cache_too_small',
  'model_failed',
]);

/** Looks at the shape: the error may come from another thread. */
function isEngineError(error: unknown): error is EngineErrorShape {
  return error instanceof Error && engineCodes.has((error as Partial<EngineErrorShape>).code);
}

function fromEngine({ code, status, message, retryAfter }: EngineErrorShape): ApiError {
  switch (code) {
    case 'queue_full':
      return tooMany(message, retryAfter ?? 1);
    case 'engine_unavailable':
      return unavailable(message, retryAfter);
    case 'model_failed':
      return new ApiError('The model failed on this request.', { status, code });
    default:
      return new ApiError(message, { status, code });
  }
}

/** Errors of fastify and Node before a handler runs: bad JSON, too large, wrong content type. */
interface HttpError extends Error {
  readonly code?: string;
  readonly statusCode: number;
}

function isHttpError(error: unknown): error is HttpError {
  const { statusCode } = (error ?? {}) as Partial<HttpError>;
  return error instanceof Error && typeof statusCode === 'number' && statusCode < 500;
}

function fromFastify({ code, statusCode: status, message }: HttpError): ApiError {
  switch (status) {
    case 413:
      return new ApiError('The request body is too large.', { status, code: 'request_too_large' });
    case 415:
      return new ApiError('The content type has to be application/json.', {
        status,
        code: 'unsupported_media_type',
      });
    default:
      if (code === 'FST_ERR_BAD_URL') {
        return new ApiError('The URL is not valid.', { status, code: 'invalid_url' });
      }
      if (code === undefined || code.includes('JSON')) {
        return new ApiError('The request body is not valid JSON.', {
          status,
          code: 'invalid_json',
        });
      }
      return new ApiError(message, { status, code: 'bad_request' });
  }
}
