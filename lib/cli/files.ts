import { type FileHandle, open } from 'node:fs/promises';
import { CliError, messageOf } from './cli-error.js';
import { withProgress } from './progress.js';

/** Well below the 2 GiB that one system call moves at most. */
const pieceBytes = 64 * 1024 * 1024;

/** An open file that knows its name, for the messages. */
export interface InputFile {
  readonly path: string;
  readonly size: number;
  /** Bytes `position` to `position + length - 1`, in memory of their own. */
  read(position: number, length: number): Promise<ArrayBuffer>;
}

/** Opens `path` for `use`, and closes it whatever happens. System errors become messages. */
export async function withFile<T>(path: string, use: (file: InputFile) => Promise<T>): Promise<T> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path);
    const { size } = await handle.stat();
    const opened = handle;
    return await use({
      path,
      size,
      read: (position, length) => readPieces(opened, path, position, length),
    });
  } catch (error) {
    if (error instanceof CliError || !isSystemError(error)) throw error;
    throw new CliError(`${path}: ${messageOf(error)}`);
  } finally {
    await handle?.close();
  }
}

function isSystemError(error: unknown): boolean {
  return typeof (error as NodeJS.ErrnoException)?.syscall === 'string';
}

async function readPieces(
  handle: FileHandle,
  path: string,
  position: number,
  length: number,
): Promise<ArrayBuffer> {
  const bytes = new Uint8Array(allocate(path, length));
  return withProgress(`reading ${path}`, length, async (progress) => {
    let done = 0;
    while (done < length) {
      const piece = Math.min(pieceBytes, length - done);
      const { bytesRead } = await handle.read(bytes, done, piece, position + done);
      if (bytesRead === 0) {
        throw new CliError(`${path}: ends after ${position + done} bytes, before its data does`);
      }
      done += bytesRead;
      progress.update(done);
    }
    return bytes.buffer;
  });
}

function allocate(path: string, length: number): ArrayBuffer {
  try {
    return new ArrayBuffer(length);
  } catch {
    throw new CliError(`${path}: no memory for its ${length} bytes`);
  }
}

/** Writes `parts` one after the other as the new contents of `path`. */
export async function writeFileOf(path: string, parts: readonly ArrayBufferView[]): Promise<void> {
  const total = parts.reduce((sum, part) => sum + part.byteLength, 0);
  try {
    const handle = await open(path, 'w');
    try {
      await withProgress(`writing ${path}`, total, async (progress) => {
        let done = 0;
        for (const part of parts) {
          for (let offset = 0; offset < part.byteLength; ) {
            const piece = Math.min(pieceBytes, part.byteLength - offset);
            const view = new Uint8Array(part.buffer, part.byteOffset + offset, piece);
            const { bytesWritten } = await handle.write(view, 0, piece, done);
            offset += bytesWritten;
            done += bytesWritten;
            progress.update(done);
          }
        }
      });
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw new CliError(`${path}: ${messageOf(error)}`);
  }
}
