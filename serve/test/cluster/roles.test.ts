// Prompts on one worker and the rest on another, of a model that computes.
import type { Engine } from '../../src/engine/contract.js';
import { startEngine } from '../../src/engine/engine.js';
import { modelsFolder, variants } from '../models/index.js';
import { describeWithNats, TestCluster } from '../support/cluster.js';
import { generationRequest } from '../support/generation-request.js';
import { tokensOf } from '../support/scripted-engine-thread.js';

const model = modelsFolder();

const start = (): Promise<Engine> =>
  startEngine(
    {
      ...{ folder: model('int4-level1'), maxTokensInCache: 4096, pageSize: 16 },
      ...{ kvDtype: 'float32', device: 'cpu', maxBatchTokens: 256, prefillChunk: 64 },
      ...{ maxRunning: 16, maxQueued: 100, prefixCache: true, prefixChanges: true, threads: 1 },
    },
    { module: new URL('../../dist/engine/worker.js', import.meta.url) },
  );

describeWithNats('an answer whose prompt another worker computed', () => {
  test('is the same, greedily, at accuracy level 1', async () => {
    const cluster = await TestCluster.start();
    try {
      const [alone, prefill, decode] = await Promise.all([start(), start(), start()]);
      const size = { pages: 256, pageSize: 16 };
      await cluster.worker(prefill, { ...size, role: 'prefill' });
      await cluster.worker(decode, { ...size, role: 'decode' });
      const { engine } = await cluster.frontend({ workers: 2 });
      const { vocab } = variants['int4-level1'];
      const asked = Array.from({ length: 6 }, (_, chat) =>
        generationRequest({
          prompt: Array.from({ length: 290 + chat }, (__, i) => (7 * i + 31 * chat) % (vocab - 8)),
          ...{ maxTokens: 40, ignoreEos: true },
        }),
      );
      const hold = (by: Engine) =>
        Promise.all(asked.map((request) => tokensOf(by.generate(request))));
      expect(await hold(engine)).toEqual(await hold(alone));
      const { promptTokens } = await prefill.stats();
      expect(promptTokens).toBe(6 * 290 + 15);
      const rest = await decode.stats();
      expect(rest.promptTokens - rest.prefixHits).toBeLessThan(6 * 16);
      await alone.close(0);
    } finally {
      await cluster.close();
    }
  });
});
