import { isIP } from 'node:net';

/** Of a Host header or an origin's authority the name, or the address without brackets. */
export function hostName(authority: string): string {
  return authority
    .replace(/:\d*$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
}

/**
 * Whether a server without keys answers to this name. A web page can have its own name resolve to
 * this machine (DNS rebinding) and then ask as if it were local; it can't do so with an address or
 * with localhost. Other names have to be allowed.
 */
export function isTrustedHost(name: string, allowed: ReadonlySet<string>): boolean {
  return isIP(name) !== 0 || isLocal(name) || allowed.has(name);
}

/** Whether a web page of this origin may ask a server without keys that it reached at `host`. */
export function isTrustedOrigin(
  origin: string,
  host: string,
  allowed: ReadonlySet<string>,
): boolean {
  if (!URL.canParse(origin)) return false;
  const authority = new URL(origin).host;
  const name = hostName(authority);
  return authority === host || isLocal(name) || allowed.has(name);
}

/** Whether the name or address is this machine's own, wherever it is asked. */
export function isLocal(name: string): boolean {
  if (isIP(name) === 4) return name.startsWith('127.');
  return name === '::1' || name === 'localhost' || name.endsWith('.localhost');
}
