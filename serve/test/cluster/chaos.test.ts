import path from 'node:path';
import { decidedChats, holdInChaos } from '../../bench/cluster/chaos.js';
import { type ChatResult, chatsOf, holdAll } from '../../bench/cluster/chats.js';
import { Deployment } from '../../bench/cluster/deployment.js';
import { modelsFolder } from '../models/index.js';
import { describeWithNats } from '../support/cluster.js';

const model = modelsFolder();
const main = path.resolve(import.meta.dirname, '../../dist/cli/main.js');

describeWithNats(
  'two frontends and three workers, one killed or told to stop every 5 seconds',
  () => {
    test('hold 200 chats to their ends, with the words of a quiet run', async () => {
      const deployment = await Deployment.start({
        ...{ main, folder: model('int4-level1'), frontends: 2, workers: 3 },
        workerArguments: ['--max-tokens-in-cache', '4096'],
      });
      try {
        const chats = chatsOf(200, 4, 12, 2);
        const load = { side: 16, maxTokens: 60 };
        const quiet = await holdAll(chats, deployment.urls, load);
        const { rounds } = await holdInChaos(deployment, chats, {
          ...load,
          ...{ killEvery: 5000, leastKills: 4 },
        });
        const decided = decidedChats(quiet);
        expect(decided.length).toBeGreaterThan(0.9 * chats.length);
        const answersOf = (each: readonly ChatResult[]) => decided.map((i) => each[i].answers);
        for (const results of rounds) {
          expect(answersOf(results)).toEqual(answersOf(quiet));
          for (const { completionTokens } of results) expect(completionTokens).toBe(2 * 60);
        }
      } finally {
        await deployment.stop();
      }
    }, 300_000);
  },
);
