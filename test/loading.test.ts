import { builtCjs, runPackage } from './support/run-package.js';

const missing = { FLASH_ATTENTION_ADDON: '/nowhere/flash_attention.node' };

test('importing loads no binary: only first use can fail, and says how to help it', () => {
  const code = `
    console.log(typeof fa.flashAttention, fa.version.length > 0);
    new fa.FlashAttentionError('ERR_SHAPE', 'x');
    fa.BlockMask.document([1, 2]).visible(0, 1);
    const uses = [() => fa.devices(), () => fa.zeros([1]), () => fa.memory(), () => fa.synchronize()];
    for (const use of uses) {
      try { await use(); } catch (error) {
        console.log(error instanceof fa.FlashAttentionError, error.code, error.cause !== undefined);
        if (use === uses[0]) console.log(error.message);
      }
    }
  `;
  const { stdout, stderr, status } = runPackage(code, missing);
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  expect(stdout).toMatch(/^function true\n/);
  expect(stdout.match(/true ERR_NATIVE_BINARY true/g)).toHaveLength(4);
  expect(stdout).toContain('/nowhere/flash_attention.node');
  expect(stdout).toContain('FLASH_ATTENTION_ADDON');
});

test('the ESM and the CommonJS copy work with each other', () => {
  const code = `
    import { createRequire } from 'node:module';
    const cjs = createRequire(import.meta.url)(${JSON.stringify(builtCjs)});
    console.log(cjs.Tensor === fa.Tensor);
    const q = cjs.randn([1, 8, 2, 16], { seed: 1n });
    const mask = cjs.BlockMask.slidingWindow({ seqlenQ: 8, seqlenK: 8, left: 2, right: 0, blockSize: 4 });
    const out = fa.flashAttention(q, q, q, { blockMask: mask });
    console.log(q instanceof fa.Tensor, out instanceof cjs.Tensor, mask instanceof fa.BlockMask);
    const same = cjs.flashAttention(q, q, q, { window: [2, 0] });
    const [a, b] = [await out.toFloat32(), await same.toFloat32()];
    console.log(a.every((x, i) => Math.abs(x - b[i]) < 1e-6), fa.memory().tensors === cjs.memory().tensors);
    try { cjs.flashAttention(1, 2, 3); } catch (error) {
      console.log(error instanceof fa.FlashAttentionError, error.code);
    }
    out.dispose();
    try { await cjs.mergeAttentionStates([{ out, lse: out }]); } catch (error) { console.log(error.code); }
  `;
  const { stdout, stderr } = runPackage(code);
  expect(stderr).toBe('');
  expect(stdout.split('\n')).toEqual([
    'false',
    'true true true',
    'true true',
    'true ERR_TYPE',
    'ERR_DISPOSED',
    '',
  ]);
});

test('works in a worker thread and from CommonJS', () => {
  const worker = `
    const { parentPort } = require('node:worker_threads');
    const { randn, flashAttention, defaultDevice } = require(${JSON.stringify(builtCjs)});
    const q = randn([1, 8, 2, 16], { seed: 1n });
    flashAttention(q, q, q).toFloat32().then((x) => parentPort.postMessage([defaultDevice(), x]));
  `;
  const code = `
    import { Worker } from 'node:worker_threads';
    const q = fa.randn([1, 8, 2, 16], { seed: 1n });
    const here = await fa.flashAttention(q, q, q).toFloat32();
    new Worker(${JSON.stringify(worker)}, { eval: true, execArgv: [] }).once('message', ([device, there]) => {
      console.log(device === fa.defaultDevice(), there.every((x, i) => x === here[i]));
    });
  `;
  expect(runPackage(code)).toEqual({ stdout: 'true true\n', stderr: '', status: 0 });
});

test('an imported, used and idle package lets the process end', () => {
  const code = `
    const q = fa.randn([1, 8, 2, 16], { seed: 1n });
    await fa.flashAttention(q, q, q).data();
    process.on('exit', () => console.log('ended'));
  `;
  expect(runPackage(code)).toEqual({ stdout: 'ended\n', stderr: '', status: 0 });
});
