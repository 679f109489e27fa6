// What the built package calls its classes: the bundler renames some, and messages show the names.
import { jest } from '@jest/globals';
import { root, runNode } from './support/cli.js';

jest.setTimeout(60_000);

test('classes of the built package have the names that they are exported and documented by', async () => {
  const code = `
    import * as main from 'flash-attention';
    import * as serving from 'flash-attention/serving';
    import * as reference from 'flash-attention/reference';

    for (const entry of [main, serving, reference]) {
      for (const [name, value] of Object.entries(entry)) {
        if (typeof value === 'function' && value.name !== name) console.log(name, value.name);
      }
    }
    const model = { layers: 1, kvHeads: 1, headDim: 8 };
    const cache = new serving.KvCache({ ...model, numPages: 4 });
    const part = new serving.ContextPart(cache, { parts: 1, tokensPerRun: 16, part: 0 });
    const transport = serving.inProcessTransport([part]);
    const cut = { parts: 1, tokensPerRun: 16 };
    const context = new serving.ContextParallel({ ...model, cut, transport });
    const [sequence, far] = [cache.createSequence(), context.createSequence()];
    const made = [
      sequence,
      cache.step([{ sequence, tokens: 1 }]),
      cache.captureDecode({ batch: 1, heads: 1 }),
      far,
      context.step([{ sequence: far, tokens: 1 }]),
    ];
    console.log(made.map((each) => each.constructor.name).join(' '));
  `;
  const result = await runNode(['--input-type=module', '--eval', code], {
    cwd: root,
    env: { FLASH_ATTENTION_DEVICE: 'cpu' },
  });
  const stdout = 'Sequence Step DecodeGraph ContextSequence ContextStep\n';
  expect(result).toEqual({ status: 0, stderr: '', stdout });
});
