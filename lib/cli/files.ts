import { fstatSync } from 'node:fs';
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

/** What stands for standard input among the files of a command line. */
export const standardInput = '-';

/**
 * Opens `path` for `use`, and closes it whatever happens. System errors become messages. `-` is
 * standard input.
 */
export async function withFile<T>(path: string, use: (file: InputFile) => Promise<T>): Promise<T> {
  if (path === standardInput) return use(await readStandardInput());
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

/** All of standard input, in memory: a pipe can be read but once, and not from the middle. */
async function readStandardInput(): Promise<InputFile> {
  const path = 'standard input';
  if (process.stdin.isTTY) {
    throw new CliError(`${path}: is a terminal; pipe or redirect a file into it`);
  }
  if (fstatSync(0).isDirectory()) throw new CliError(`${path}: is a folder`);
  const pieces: Buffer[] = [];
  const bytes = await withProgress(`reading ${path}`, undefined, async () => {
    for await (const piece of process.stdin) pieces.push(piece as Buffer);
    return Buffer.concat(pieces);
  });
  return {
    path,
    size: bytes.length,
    read: async (position, length) => {
      if (position + length > bytes.length) {
        throw new CliError(`${path}: ends after ${bytes.length} bytes, before its data does`);
      }
      return new Uint8Array(bytes.subarray(position, position + length)).buffer;
    },
  };
}
