// Runs one case, in a process of its own: its memory is the case's.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Random } from '../test/models/index.js';
import type { Case, Contestant, ContestantName, Sample, Start, Timeline } from './contestant.js';
import { startBatch } from './contestants/batch.js';
import { startEngineContestant } from './contestants/engine.js';
import { startLlamaCpp } from './contestants/llama-cpp.js';
import { startLoop } from './contestants/loop.js';
import { startServer } from './contestants/server.js';
import { startTransformers } from './contestants/transformers.js';
import { closedLoop, openLoop, poissonArrivals } from './load.js';
import { promptOf } from './prompts.js';

const starts: Readonly<Record<ContestantName, Start>> = {
  engine: startEngineContestant,
  server: startServer,
  loop: startLoop,
  batch: startBatch,
  transformers: startTransformers,
  'llama-cpp': startLlamaCpp,
};

function run(contestant: Contestant, given: Case): Promise<Timeline[]> {
  const { load, seed } = given;
  const prompt = (request: number) => promptOf(given, request);
  if (load.kind === 'closed') {
    return closedLoop(contestant, load.users, load.requests, prompt);
  }
  const arrivals = poissonArrivals(load.rate, load.seconds, new Random(seed));
  return openLoop(contestant, arrivals, prompt);
}

process.once('message', async (given: Case) => {
  const contestant = await starts[given.contestant](given);
  // Whatever is loaded or compiled on first use. What the shared prompts begin with is known then.
  await contestant.answer(promptOf(given, -1), () => {});
  const delay = monitorEventLoopDelay({ resolution: 2 });
  delay.enable();
  const timelines = await run(contestant, given);
  delay.disable();
  await contestant.close();
  const peakMemory = contestant.peakMemory
    ? contestant.peakMemory()
    : process.resourceUsage().maxRSS * 1024;
  // What answers HTTP is another process.
  const eventLoop = given.contestant === 'server' ? undefined : delay.max / 1e6;
  process.send?.({ timelines, peakMemory, eventLoop } satisfies Sample, () => process.disconnect());
});
