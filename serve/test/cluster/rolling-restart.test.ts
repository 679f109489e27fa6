import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { decidedChats } from '../../bench/cluster/chaos.js';
import { chatsOf, holdAll } from '../../bench/cluster/chats.js';
import { Deployment } from '../../bench/cluster/deployment.js';
import { modelsFolder } from '../models/index.js';
import { describeWithNats } from '../support/cluster.js';

const model = modelsFolder();
const main = path.resolve(import.meta.dirname, '../../dist/cli/main.js');

/** A metric of a frontend, with this among its labels; 0: it is not there. */
async function metric(url: string, name: string, labels: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const isWanted = (line: string) => line.startsWith(name) && line.includes(labels);
  const line = text.split('\n').find(isWanted);
  return Number(line?.split(' ').at(-1) ?? 0);
}

/** Tells one worker after the other to stop, each when the one before has been replaced. */
async function restartAll(deployment: Deployment): Promise<void> {
  const former = deployment.pids;
  for (const pid of former) {
    process.kill(pid, 'SIGTERM');
    while (deployment.pids.includes(pid) || deployment.pids.length < former.length) await delay(50);
    await deployment.ready();
  }
}

describeWithNats('all workers, one after the other, told to stop under load', () => {
  test('fail no request, and further turns reuse the tokens of the ones before', async () => {
    const deployment = await Deployment.start({
      ...{ main, folder: model('int4-level1'), frontends: 1, workers: 3 },
      workerArguments: ['--max-tokens-in-cache', '8192'],
    });
    try {
      const [url] = deployment.urls;
      const chats = chatsOf(12, 3, 12, 3);
      const load = { side: 6, maxTokens: 30 };
      const quiet = await holdAll(chats, deployment.urls, load);
      let isOver = false;
      const restarted = restartAll(deployment).then(() => {
        isOver = true;
      });
      const decided = decidedChats(quiet);
      const answersOf = (each: typeof quiet) => decided.map((i) => each[i].answers);
      while (!isOver) {
        // It throws for whatever is not complete.
        expect(answersOf(await holdAll(chats, deployment.urls, load))).toEqual(answersOf(quiet));
      }
      await restarted;
      const count = (name: string, labels = '') =>
        metric(url, `flash_attention_serve_${name}`, labels);
      expect(await count('transfer_tokens_total', 'direction="reused"')).toBeGreaterThan(0);
      expect(await count('workers_cpu_seconds_total')).toBeGreaterThan(0);
      expect(await count('workers_resident_memory_bytes')).toBeGreaterThan(3 * 2 ** 20);
    } finally {
      await deployment.stop();
    }
  });
});
