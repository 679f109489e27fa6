import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { type FileHandle, open, realpath, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { CliError, messageOf } from './cli-error.js';
import { withProgress } from './progress.js';

const pieceBytes = 64 * 1024 * 1024;

/** Signals that end a process but let it clean up. */
const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Writes `parts` one after the other as the new contents of `file`. They go to another name in the
 * same folder first: until all is there, and when something fails, `file` stays what it was.
 */
export async function writeFileOf(file: string, parts: readonly ArrayBufferView[]): Promise<void> {
  let temporary: string | undefined;
  const cleanUp = (signal: NodeJS.Signals) => {
    if (temporary) rmSync(temporary, { force: true });
    for (const each of endings) process.off(each, cleanUp);
    process.kill(process.pid, signal);
  };
  try {
    const target = await realpath(file).catch(() => file); // a link stays a link
    const old = await stat(target).catch(() => undefined);
    const name = `.flash-attention-${randomBytes(6).toString('hex')}.tmp`;
    const handle = await open(path.join(path.dirname(target), name), 'wx');
    temporary = path.join(path.dirname(target), name);
    for (const each of endings) process.on(each, cleanUp);
    try {
      if (old) await handle.chmod(old.mode & 0o777);
      await writeParts(handle, `writing ${file}`, parts);
      await handle.sync(); // or a crash of the system could leave the name without the contents
    } finally {
      await handle.close();
    }
    await rename(temporary, target);
    temporary = undefined;
  } catch (error) {
    if (temporary) await rm(temporary, { force: true });
    throw new CliError(`${file}: ${messageOf(error)}`);
  } finally {
    for (const each of endings) process.off(each, cleanUp);
  }
}

async function writeParts(
  handle: FileHandle,
  label: string,
  parts: readonly ArrayBufferView[],
): Promise<void> {
  const total = parts.reduce((sum, part) => sum + part.byteLength, 0);
  await withProgress(label, total, async (progress) => {
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
}
