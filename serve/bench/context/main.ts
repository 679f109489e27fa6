// `npm run bench:context`: a decoding step over a cache that several processes hold, and over the
// same one in this process; and what it costs to move the cache there.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { connect } from '@nats-io/transport-node';
import { NatsServer } from '../../src/cluster/nats-server.js';
import { natsTransport } from '../../src/context/index.js';
import { CountedTransport } from './counted.js';
import { readOptions } from './options.js';
import { printReport } from './report.js';
import type { WorkerSettings } from './worker.js';

const options = readOptions(process.argv, availableParallelism());
process.env.FLASH_ATTENTION_NUM_THREADS = `${options.threads}`;
const { Decoding } = await import('./decoding.js'); // the addon reads the variable as it is loaded

const cut = { parts: options.workers, tokensPerRun: options.run };
const subject = 'bench.context';
const server = await NatsServer.start();
const children: ChildProcess[] = [];
try {
  await Promise.all(Array.from({ length: cut.parts }, (_, part) => startWorker(part)));
  const connection = await connect({ servers: server.url });
  const transport = new CountedTransport(natsTransport(connection, subject));
  const decoding = new Decoding(options, cut, transport);
  const moved = await decoding.move();
  const { alone, apart, empty, furthest } = await decoding.measure();
  const machine = `${cpus()[0].model}, ${availableParallelism()} cores`;
  const load = loadavg()[0];
  printReport({ options, machine, load, moved, alone, apart, empty, furthest });
  await connection.close();
} finally {
  for (const child of children) child.kill();
  await server.close();
}

async function startWorker(part: number): Promise<void> {
  const { layers, kvHeads, headDim, dtype, tokens, run, workers } = options;
  const perPart = (Math.ceil(tokens / run / workers) + 2) * run;
  // The short sequence, and what is decoded behind the long one, have room too.
  const numPages = Math.ceil((perPart + 4 * run + options.steps * options.rounds) / 16);
  const settings: WorkerSettings = {
    url: server.url,
    subject,
    cut: { ...cut, part },
    cache: { layers, kvHeads, headDim, dtype, numPages, pageSize: 16 },
  };
  const file = fileURLToPath(new URL('worker.js', import.meta.url));
  const child = fork(file, [JSON.stringify(settings)], {
    env: { ...process.env, FLASH_ATTENTION_NUM_THREADS: `${options.workerThreads}` },
  });
  children.push(child);
  const ended = once(child, 'exit').then(() => {
    throw new Error(`worker ${part} ended`);
  });
  await Promise.race([once(child, 'message'), ended]);
  ended.catch(() => {});
}
