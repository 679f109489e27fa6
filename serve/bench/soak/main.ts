// `npm run bench:soak`: whether the server's memory grows with the requests it has answered. Ends
// with 1 when it does. For every version of onnxruntime and of Node.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { medianOf } from '../../../bench/spread.js';
import { writeTestModel } from '../../test/models/index.js';
import { positiveInteger } from '../positive-integer.js';
import { startServerProcess } from '../server-process.js';
import { residentBytes } from './resident.js';

const { requests, users, growth } = new Command('bench:soak')
  .option('--requests <n>', 'chats in all', positiveInteger, 20_000)
  .option('--users <n>', 'chats at once', positiveInteger, 16)
  .option('--growth <MiB>', 'that the last quarter may have over the second', positiveInteger, 16)
  .parse()
  .opts();

const folder = mkdtempSync(path.join(tmpdir(), 'serve-soak-'));
process.on('exit', () => rmSync(folder, { recursive: true }));
writeTestModel(folder, 'llama');
const { process: server, url } = await startServerProcess(
  folder,
  ['--max-running', `${users}`],
  ['--expose-gc', '--import', new URL('./collect.js', import.meta.url).href],
);

/** Streams and answers in one piece, with logprobs and without; one in ten goes away early. */
function body(request: number): object {
  return {
    messages: [{ role: 'user', content: `${request} ${'So it goes on. '.repeat(request % 8)}` }],
    ...{ max_tokens: 1 + (request % 16), ignore_eos: true, stream: request % 3 > 0 },
    ...(request % 7 === 0 ? { logprobs: true, top_logprobs: 3 } : {}),
  };
}

async function chat(request: number): Promise<void> {
  const gone = new AbortController();
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body(request)),
    signal: gone.signal,
  });
  if (response.status !== 200) throw new Error(`status ${response.status}`);
  if (request % 10 === 0) gone.abort();
  else await response.text();
}

const sizes: number[] = [];
let next = 0;
const every = Math.max(1, Math.floor(requests / 200));
const user = async () => {
  while (next < requests) {
    const request = next++;
    await chat(request);
    if (request % every === 0) sizes.push(residentBytes(server.pid as number));
  }
};
await Promise.all(Array.from({ length: users }, user));
server.disconnect();
server.kill('SIGTERM');
const [code] = await once(server, 'exit');

const quarter = (n: number) => {
  const length = Math.floor(sizes.length / 4);
  return medianOf(sizes.slice(n * length, (n + 1) * length)) / 2 ** 20;
};
const quarters = [0, 1, 2, 3].map(quarter);
const grown = quarters[3] - quarters[1];
const mib = (value: number) => `${value.toFixed(1)} MiB`;
console.log(`${requests} chats, ${users} at once; the server ended with ${code}`);
console.log(`resident, by quarters of them: ${quarters.map(mib).join(', ')}`);
console.log(`grown by ${mib(grown)} from the second to the last; ${mib(growth)} are allowed`);
if (code !== 0 || grown > growth) process.exitCode = 1;
