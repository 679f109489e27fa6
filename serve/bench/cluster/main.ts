// `npm run bench:cluster -- <what>`: clusters of processes of this machine.
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { type Variant, variants, writeTestModel } from '../../test/models/index.js';
import { decidedChats, holdInChaos } from './chaos.js';
import { type ChatResult, chatsOf, holdAll } from './chats.js';
import { Deployment } from './deployment.js';
import { defaultTiming } from '../../src/cluster/timing.js';
import { measureCosts } from './costs.js';
import { measureRouting } from './routing.js';
import { modelCluster } from './scale-model.js';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

const positive = (text: string): number => {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError(`${text} is no positive integer.`);
  return Number(text);
};

/** A small decoder with random weights, int4 at accuracy level 1. */
function model(variant: Variant): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'serve-bench-cluster-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  writeTestModel(folder, variant);
  return folder;
}

const print = (result: object): void => console.log(JSON.stringify(result));
const machine = (): object => ({ cpu: cpus()[0].model, cores: cpus().length, load: loadavg()[0] });

const program = new Command('bench:cluster').description('clusters of processes of this machine');

program
  .command('chaos')
  .description('chats while workers are killed: every one complete, with the words of a quiet run')
  .option('--chats <n>', 'chats of two turns', positive, 200)
  .option('--workers <n>', '', positive, 3)
  .option('--frontends <n>', '', positive, 2)
  .option('--kill-every <milliseconds>', 'from one death to the next', positive, 5000)
  .option('--kills <n>', 'the chats are held again until so many died', positive, 6)
  .option('--side <n>', 'chats at a time', positive, 16)
  .option('--max-tokens <n>', 'of an answer', positive, 100)
  .action(async ({ chats: count, workers, frontends, killEvery, kills, side, maxTokens }) => {
    const deployment = await Deployment.start({
      ...{ main, folder: model({ ...variants['int4-level1'], context: 1024 }), frontends, workers },
      workerArguments: ['--max-tokens-in-cache', '16384'],
    });
    try {
      const chats = chatsOf(count, 4, 12, 2);
      const load = { side, maxTokens };
      const quiet = await holdAll(chats, deployment.urls, load);
      const chaos = await holdInChaos(deployment, chats, { ...load, killEvery, leastKills: kills });
      const decided = decidedChats(quiet);
      const text = (results: readonly ChatResult[], i: number) => results[i].answers.join('|');
      const same = chaos.rounds.map((results) => {
        return decided.filter((i) => text(results, i) === text(quiet, i)).length;
      });
      print({ chats: count, decided: decided.length, same, ...machine() });
      print({ kills: chaos.kills, seconds: chaos.milliseconds / 1000 });
      if (same.some((each) => each < decided.length)) process.exitCode = 1;
    } finally {
      await deployment.stop();
    }
  });

program
  .command('routing')
  .description('the share of prompt tokens that are found, beside workers chosen at random')
  .option('--chats <n>', '', positive, 48)
  .option('--systems <n>', 'different system prompts', positive, 4)
  .option('--system-tokens <n>', '', positive, 512)
  .option('--turns <n>', '', positive, 4)
  .option('--workers <n>', '', positive, 3)
  .option('--side <n>', 'chats at a time', positive, 12)
  .option('--cache <tokens>', 'of each worker', positive, 8192)
  .action(async ({ workers, cache, ...options }) => {
    const folder = model({ ...variants['int4-level1'], context: 4096 });
    const deployment = { main, folder, workers };
    const workerArguments = ['--max-tokens-in-cache', `${cache}`];
    print({ ...options, workers, cache, ...machine() });
    for (const routing of ['random', 'prefix'] as const) {
      const lengths = { userTokens: 32, answerTokens: 32 };
      const result = await measureRouting(
        routing,
        { ...deployment, workerArguments },
        { ...options, ...lengths },
      );
      print({ ...result, reused: result.cachedTokens / result.promptTokens });
    }
  });

program
  .command('scale')
  .description('a model of 100 and of 10,000 workers, by costs measured here')
  .action(() => {
    const costs = measureCosts();
    print({ ...machine(), costs });
    for (const [workers, frontends] of [
      [100, 4],
      [10_000, 400],
      [10_000, 40],
    ]) {
      const load = {
        ...{ workers, frontends, requests: 2 * workers, promptTokens: 1000, answerTokens: 250 },
        ...{ tokensPerSecond: 25, pages: 65_536, pageSize: 16 },
        ...{ beat: defaultTiming.beat, alive: defaultTiming.alive },
      };
      print({ load, ...modelCluster(load, costs) });
    }
  });

await program.parseAsync();
