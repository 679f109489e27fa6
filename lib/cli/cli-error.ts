/** A failure that the person at the keyboard can mend: shown as a message, without a stack. */
export class CliError extends Error {}

/** The text of anything thrown; of system errors without the name of the call. */
export function messageOf(error: unknown): string {
  const { code, message } = (error ?? {}) as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOENT':
      return 'no such file';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'EISDIR':
      return 'is a folder';
    case 'ENOSPC':
      return 'no space left on the disk';
    default:
      return message || String(error);
  }
}
