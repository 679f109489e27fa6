// The engine's thread with a ScriptedForward. `folder` is the script, as JSON.
import { setTimeout as delay } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import swc from '@swc/core';
import { hostEngine } from '../../dist/engine/host.js';

const file = new URL('scripted-forward.ts', import.meta.url);
const { code } = swc.transformFileSync(file.pathname, { jsc: { target: 'es2022' } });
const { ScriptedForward } = await import(`data:text/javascript,${encodeURIComponent(code)}`);

/** This prompt ends the thread. */
const deadly = '30,30,30';

async function open({ folder }) {
  const { model, stepMilliseconds = 0, broken = '' } = JSON.parse(folder);
  if (broken) throw new Error(broken);
  const forward = new ScriptedForward(model);
  forward.onRun = async (entries) => {
    await delay(stepMilliseconds);
    if (entries.some(({ tokens }) => tokens.join() === deadly)) {
      setImmediate(() => {
        throw new Error('out of luck');
      });
      await new Promise(() => {});
    }
  };
  return {
    forward,
    constrain: () => Promise.reject(new Error('no grammars here')),
    closeGrammars: async () => {},
  };
}

await hostEngine(parentPort, workerData, open);
