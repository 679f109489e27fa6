import type { FastifyRequest } from 'fastify';
import { ApiError } from '../errors.js';
import type { ApiKeys } from './api-keys.js';
import { hostName, isTrustedHost, isTrustedOrigin } from './hosts.js';

/** Who may ask. */
export interface AccessOptions {
  /** Without keys everyone may who reaches the port, under a trusted name. */
  readonly apiKeys?: ApiKeys;
  /** Names under which a server without keys answers, beside localhost and addresses. */
  readonly allowedHosts: readonly string[];
}

/**
 * The name of the key that the request came with; undefined: this server has no keys.
 * @throws ApiError 401 without a right key, 403 for a name or a web page that isn't trusted
 */
export function identify(request: FastifyRequest, options: AccessOptions): string | undefined {
  if (!options.apiKeys) {
    checkNames(request, options);
    return undefined;
  }
  const [, key] = request.headers.authorization?.match(/^Bearer +(\S+)$/i) ?? [];
  if (key === undefined) {
    throw unauthorized("You didn't provide an API key: 'Authorization: Bearer KEY'.");
  }
  const caller = options.apiKeys.identify(key);
  if (caller === undefined) throw unauthorized('Incorrect API key provided.');
  return caller;
}

function unauthorized(message: string): ApiError {
  return new ApiError(message, { status: 401, code: 'invalid_api_key' });
}

function checkNames({ headers }: FastifyRequest, { allowedHosts }: AccessOptions): void {
  const allowed = new Set(allowedHosts.map((host) => host.toLowerCase()));
  const { host, origin } = headers;
  if (host === undefined || !isTrustedHost(hostName(host), allowed)) throw forbidden('Host', host);
  if (origin !== undefined && !isTrustedOrigin(origin, host, allowed)) {
    throw forbidden('Origin', origin);
  }
}

function forbidden(header: string, value = ''): ApiError {
  const shown = value.slice(0, 128);
  return new ApiError(
    `This server has no API keys and doesn't answer under the ${header} '${shown}'. ` +
      'It can be allowed when the server is started: --allowed-host.',
    { status: 403, code: 'host_not_allowed' },
  );
}
