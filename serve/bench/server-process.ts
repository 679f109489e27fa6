import { type ChildProcess, fork } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface ServerProcess {
  readonly process: ChildProcess;
  readonly url: string;
}

/**
 * Starts the server on a free port, with a channel to its process. It ends with this one.
 *
 * @param execArgv for Node, before the server's own.
 */
export async function startServerProcess(
  folder: string,
  args: readonly string[],
  execArgv: readonly string[] = [],
): Promise<ServerProcess> {
  // From a bundle in a folder beside the server's.
  const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
  const child = fork(main, [folder, '--port', '0', '--log-level', 'warn', ...args], {
    execArgv: [...execArgv],
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  process.on('exit', () => child.kill());
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    const [url] = /http:\S+$/.exec(line) ?? [];
    if (url !== undefined) return { process: child, url };
  }
  throw new Error('the server did not start');
}
