// `npm run bench:event-loop`: how long the server's own thread is held by so many chats at once.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { writeTestModel } from '../../test/models/index.js';
import { positiveInteger } from '../positive-integer.js';
import { startServerProcess } from '../server-process.js';
import type { Spread } from './holds.js';
import type { EventLoopReport, FunctionTime } from './probe.js';

const { users, seconds, model } = new Command('bench:event-loop')
  .option('--users <n>', 'chats at once', positiveInteger, 64)
  .option('--seconds <n>', 'of load', positiveInteger, 20)
  .option('--model <folder>', 'default: three small layers, whose tokens come fast')
  .parse()
  .opts();

const made = mkdtempSync(path.join(tmpdir(), 'serve-event-loop-'));
process.on('exit', () => rmSync(made, { recursive: true }));
if (model === undefined) writeTestModel(made, 'llama');
const { process: server, url } = await startServerProcess(
  model ?? made,
  ['--max-running', `${users}`],
  ['--import', new URL('./probe.js', import.meta.url).href],
);

const sentence = 'The cache keeps what was read, so that nothing is read twice. ';
/** Short and long prompts, streams and answers in one piece, with logprobs and without. */
function body(user: number, turn: number): object {
  const short = (user + turn) % 4 > 0;
  return {
    messages: [{ role: 'user', content: `${user} ${turn} ${sentence.repeat(short ? 1 : 4)}` }],
    max_tokens: 100,
    ignore_eos: true,
    stream: (user + turn) % 5 > 0,
    ...((user + turn) % 7 === 0 ? { logprobs: true, top_logprobs: 5 } : {}),
  };
}

let answers = 0;
let bytes = 0;
async function chat(user: number, until: number): Promise<void> {
  for (let turn = 0; performance.now() < until; turn++) {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body(user, turn)),
    });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`status ${response.status}: ${text}`);
    answers++;
    bytes += text.length;
  }
}

const load = (milliseconds: number) => {
  const until = performance.now() + milliseconds;
  return Promise.all(Array.from({ length: users }, (_, user) => chat(user, until)));
};

await load(2000); // code is compiled by then
[answers, bytes] = [0, 0];
server.send('begin');
await delay(100);
await load(seconds * 1000);
server.send('end');
const [report] = (await once(server, 'message')) as [EventLoopReport];
server.kill('SIGTERM');
await once(server, 'exit');
print(report);

function print({
  held,
  computed,
  waited,
  collected,
  utilization,
  functions,
  longest,
}: EventLoopReport) {
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  const spread = ({ p50, p99, max }: Spread) => `p50 ${ms(p50)}, p99 ${ms(p99)}, most ${ms(max)}`;
  console.log(
    `${cpus()[0].model}, ${availableParallelism()} cores, load ${loadavg()[0].toFixed(1)}`,
  );
  console.log(
    `${users} chats for ${seconds} s: ${answers} answers, ${(bytes / 2 ** 20).toFixed(1)} MiB`,
  );
  console.log(`event loop held, by the clock: ${spread(held)}`);
  if (waited !== undefined) console.log(`  of the most ${ms(waited)} others had the processors`);
  if (computed) console.log(`computed by its thread at a stretch: ${spread(computed)}`);
  console.log(`garbage collections: ${ms(collected.sum)}, the longest ${ms(collected.max)}`);
  console.log(`busy ${(100 * utilization).toFixed(0)} % of the time, the most by`);
  const list = (times: readonly FunctionTime[]) => {
    for (const { name, milliseconds } of times)
      console.log(`${ms(milliseconds).padStart(12)}  ${name}`);
  };
  list(functions);
  console.log('in the longest stretch of it');
  list(longest);
}
