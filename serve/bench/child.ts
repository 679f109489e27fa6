// Runs one case, in a process of its own: its memory is the case's.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Case, Contestant, Result } from './contestant.js';
import { EngineContestant } from './engine-contestant.js';
import { quantile } from './quantile.js';
import { BatchContestant, LoopContestant } from './whole-graph.js';

const contestants = { engine: EngineContestant, loop: LoopContestant, batch: BatchContestant };

/** Prompts without structure; those that are shared differ in their last eight tokens. */
function promptsOf({ users, context, shared }: Case, round: number): Int32Array[] {
  return Array.from({ length: users }, (_, user) => {
    const own = 1 + user + 100 * round;
    return Int32Array.from({ length: context }, (_, i) => {
      const seed = shared && i < context - 8 ? 7 : own;
      return 4 + ((Math.imul(i * 97 + seed * 7919, 0x9e3779b1) >>> 8) % 8000);
    });
  });
}

async function measure(contestant: Contestant, given: Case): Promise<Result> {
  const prompts = promptsOf(given, 1);
  const times: number[][] = prompts.map(() => []);
  const delay = monitorEventLoopDelay({ resolution: 2 });
  delay.enable();
  const begin = performance.now();
  const answers = await contestant.answer(prompts, given.newTokens, (user) => {
    times[user].push(performance.now() - begin);
  });
  const seconds = (performance.now() - begin) / 1000;
  delay.disable();
  const gaps = times.flatMap((user) => user.slice(1).map((time, i) => time - user[i]));
  return {
    tokensPerSecond: times.flat().length / seconds,
    firstToken: quantile(
      times.map(([first]) => first),
      0.5,
    ),
    perToken: { p50: quantile(gaps, 0.5), p99: quantile(gaps, 0.99) },
    eventLoop: delay.max / 1e6,
    megabytes: process.resourceUsage().maxRSS / 1024,
    answers,
  };
}

process.once('message', async (given: Case) => {
  const contestant = await contestants[given.contestant].start(given);
  const [warm] = promptsOf({ ...given, users: 1 }, 0);
  // A shared prompt is known by then; any other is another one.
  const warmUsers = given.contestant === 'batch' ? given.users : 1;
  const warmPrompts = Array.from({ length: warmUsers }, () => warm);
  await contestant.answer(warmPrompts, Math.min(4, given.newTokens), () => {});
  process.send?.(await measure(contestant, given));
  await contestant.close();
  process.disconnect();
});
