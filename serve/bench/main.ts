// `npm run bench:serve`: the engine beside onnxruntime-node on its own, in a closed loop.
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { writeTestModel } from '../test/models/index.js';
import type { Case, Result } from './contestant.js';
import { quantile } from './quantile.js';

const integers = (text: string) =>
  text.split(',').map((part) => {
    if (!/^[1-9]\d*$/.test(part)) throw new InvalidArgumentError(`${part} is no positive integer.`);
    return Number(part);
  });

const command = new Command('bench:serve')
  .option('--users <list>', 'users at once', integers, [1, 4, 8])
  .option('--contexts <list>', 'tokens of each prompt', integers, [256, 2048])
  .option('--new-tokens <n>', 'tokens of each answer', (text) => integers(text)[0], 64)
  .option('--rounds <n>', 'runs of each case; medians are shown', (text) => integers(text)[0], 3)
  .option('--threads <n>', 'of arithmetic', (text) => integers(text)[0], availableParallelism())
  .option('--json <file>', 'also write all results there')
  .parse();
const { users, contexts, newTokens, rounds, threads, json } = command.opts();

const folder = mkdtempSync(path.join(tmpdir(), 'serve-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true }));
writeTestModel(folder, 'mid');
console.log(
  `${cpus()[0].model}, ${threads} threads, load ${loadavg()[0].toFixed(1)}; int4, 6 layers, hidden 768, 12/4 heads; answers of ${newTokens} tokens; medians of ${rounds}\n`,
);

const contenders: readonly Pick<Case, 'contestant' | 'shared'>[] = [
  { contestant: 'engine', shared: false },
  { contestant: 'loop', shared: false },
  { contestant: 'batch', shared: false },
  { contestant: 'engine', shared: true },
];
const all: { given: Case; results: Result[] }[] = [];
for (const context of contexts as number[]) {
  for (const count of users as number[]) await compare(count, context);
}
if (json) writeFileSync(json, `${JSON.stringify(all, undefined, 2)}\n`);

/** All contestants in turn, round by round, so that a busy machine is busy for all of them. */
async function compare(count: number, context: number): Promise<void> {
  const cases = contenders.map(
    (contender): Case => ({ ...contender, users: count, context, newTokens, threads, folder }),
  );
  const results: Result[][] = cases.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [n, given] of cases.entries()) results[n].push(await runInChild(given));
  }
  console.log(`${count} user${count > 1 ? 's' : ''}, context ${context}`);
  const median = (n: number, of: (result: Result) => number) => quantile(results[n].map(of), 0.5);
  const own = median(0, ({ tokensPerSecond }) => tokensPerSecond);
  for (const [n, { contestant, shared }] of cases.entries()) {
    const rate = median(n, ({ tokensPerSecond }) => tokensPerSecond);
    const columns = [
      `  ${contestant}${shared ? ', stored prompt' : ''}`.padEnd(24),
      `${rate.toFixed(1)} tokens/s`.padStart(16),
      `engine ${(own / rate).toFixed(2)}x`.padStart(14),
      `first ${median(n, ({ firstToken }) => firstToken).toFixed(0)} ms`.padStart(16),
      `per token ${median(n, ({ perToken }) => perToken.p50).toFixed(1)}`.padStart(18),
      `p99 ${median(n, ({ perToken }) => perToken.p99).toFixed(1)} ms`.padStart(14),
      `event loop held ${median(n, ({ eventLoop }) => eventLoop).toFixed(0)} ms`.padStart(26),
      `${median(n, ({ megabytes }) => megabytes).toFixed(0)} MB`.padStart(9),
    ];
    console.log(columns.join(''));
    all.push({ given: cases[n], results: results[n] });
  }
  console.log();
}

function runInChild(given: Case): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('./child.js', import.meta.url)));
    let result: Result | undefined;
    child.on('message', (message) => {
      result = message as Result;
    });
    child.on('error', reject);
    child.on('exit', (code) => {
      if (result) resolve(result);
      else reject(new Error(`${given.contestant} ended with code ${code}`));
    });
    child.send(given);
  });
}
