// The engine's thread with a ScriptedForward. `folder` is the script, as JSON.
import { spawnSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import swc from '@swc/core';
import { hostEngine } from '../../dist/engine/host.js';

const file = new URL('scripted-forward.ts', import.meta.url);
const { code } = swc.transformFileSync(file.pathname, { jsc: { target: 'es2022' } });
const { ScriptedForward } = await import(`data:text/javascript,${encodeURIComponent(code)}`);

/** What becomes of the thread when a prompt comes, see scripted-engine-thread.ts. */
const fates = {
  '30,30,30': async () => {
    setImmediate(() => {
      throw new Error('out of luck');
    });
    await new Promise(() => {});
  },
  '29,29,29': () => new Promise(() => {}),
  '29,29,28': () => {
    for (;;);
  },
  // Nothing ends a thread within a call of the operating system.
  '29,29,27': ({ stuckWhile }) => {
    spawnSync('sh', ['-c', 'while [ -e "$0" ]; do sleep 0.05; done', stuckWhile]);
  },
};

/** What is broken where the model is never loaded. */
const hangs = 'hangs';

async function open({ folder }) {
  const script = JSON.parse(folder);
  const { model, stepMilliseconds = 0, broken = '', grammars } = script;
  if (broken === hangs) await new Promise(() => setInterval(() => {}, 1000));
  if (broken) throw new Error(broken);
  const forward = new ScriptedForward(model);
  forward.onRun = async (entries) => {
    await delay(stepMilliseconds);
    for (const { tokens } of entries) await fates[tokens.join()]?.(script);
  };
  return {
    forward,
    constrain: () =>
      grammars === 'never' ? new Promise(() => {}) : Promise.reject(new Error('no grammars here')),
    closeGrammars: async () => {},
  };
}

await hostEngine(parentPort, workerData, open);
