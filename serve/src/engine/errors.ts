import type { EngineErrorShape } from './contract.js';

const statuses = {
  invalid_request: 400,
  context_length_exceeded: 400,
  cache_too_small: 400,
  queue_full: 429,
  model_failed: 500,
  engine_unavailable: 503,
} as const satisfies Record<EngineErrorShape['code'], EngineErrorShape['status']>;

/** Why the engine refuses a request, or why an answer ended with 'error'. */
export class EngineError extends Error implements EngineErrorShape {
  override readonly name = 'EngineError';
  readonly code: EngineErrorShape['code'];
  readonly status: EngineErrorShape['status'];
  /** Seconds, for Retry-After. */
  declare readonly retryAfter?: number;

  constructor(
    code: EngineErrorShape['code'],
    message: string,
    details?: { cause?: unknown; retryAfter?: number },
  ) {
    super(message, details?.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.status = statuses[code];
    if (details?.retryAfter !== undefined) this.retryAfter = details.retryAfter;
  }
}

/** What was thrown, as an {@link EngineError}. */
export function asEngineError(thrown: unknown): EngineError {
  if (thrown instanceof EngineError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new EngineError('model_failed', message, { cause: thrown });
}

/** A cache refused what it has no pages for. */
export function isCacheFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_CACHE_FULL';
}
