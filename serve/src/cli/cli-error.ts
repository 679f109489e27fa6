/** A failure that the person at the keyboard can mend: shown as a message, without a stack. */
export class CliError extends Error {
  override readonly name = 'CliError';
}

/** Failures of the rooms below that say what is wrong with a folder, an option or a machine. */
const clear: ReadonlySet<string> = new Set([
  'CliError',
  'ClusterError',
  'EngineError',
  'FlashAttentionError',
  'ModelError',
  'UnsupportedModelError',
]);

/** The message of a failure that needs no stack; undefined for a mistake of this program. */
export function messageOf(error: unknown): string | undefined {
  const { name, message, code, port } = error as Error & { code?: string; port?: number };
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} is in use: --port takes another`;
    case 'EACCES':
      return message;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return `this machine has no such address: ${message}`;
    default:
      return clear.has(name) ? message : undefined;
  }
}
