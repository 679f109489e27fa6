// The examples as they are shown: built package, processes of their own.
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { jest } from '@jest/globals';
import { writeFileOf } from '../lib/cli/write-file.js';
import { safetensorsParts } from '../lib/tensor/safetensors.js';
import { root, runNode, scratchFolder } from './support/cli.js';

// Every test starts processes, on machines that may be busy.
jest.setTimeout(120_000);

const { folder, done } = scratchFolder();
afterAll(done);

const example = (name: string) => path.join(root, 'examples', name);

/** The number before `unit` in the line of `label` that follows `section`. */
function figure(text: string, section: string, label: string, pattern: RegExp): number {
  const from = text.slice(text.indexOf(`\n${section}`));
  const line = from.split('\n').find((each) => each.startsWith(`  ${label}`)) ?? '';
  return Number(pattern.exec(line)?.[1].replaceAll(',', ''));
}

describe('quickstart', () => {
  test('runs a layer of Llama-3-8B, on one screen, and is right', async () => {
    const { status, stdout, stderr } = await runNode([example('quickstart.mjs')]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout.split('\n').length).toBeLessThanOrEqual(24);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
    expect(stdout).toContain('32 query heads, 8 kv heads, headDim 128, bfloat16');
    expect(stdout).toMatch(/^device {4}cpu: /m);
    expect(stdout).toMatch(/^prefill {3}4,096 tokens, causal$/m);
    expect(stdout).toMatch(/^decode {4}32 tokens, one by one, over 4,097 to 4,128 keys$/m);
    expect(stdout).toContain('standard attention would need 2,048 MiB more');
    for (const section of ['prefill', 'decode']) {
      const error = figure(stdout, section, 'error', /([\d.e-]+) against float64/);
      const standard = figure(stdout, section, 'error', /standard attention: ([\d.e-]+)/);
      expect(error).toBeGreaterThan(0);
      expect(error).toBeLessThanOrEqual(2 * standard + 1e-5);
    }
    expect(figure(stdout, 'prefill', 'time', /([\d,.]+) GFLOP\/s/)).toBeGreaterThan(0);
    expect(figure(stdout, 'decode', 'time', /([\d.]+) GB\/s/)).toBeGreaterThan(0);
  });

  test('takes q, k and v of your own', async () => {
    const file = path.join(folder, 'own.safetensors');
    const data = Float32Array.from({ length: 5 * 2 * 8 }, (_, i) => Math.sin(i * i));
    const tensor = { dtype: 'float32', shape: [5, 2, 8], data } as const;
    await writeFileOf(file, safetensorsParts({ q: tensor, k: tensor, v: tensor }));
    const { status, stdout } = await runNode([example('quickstart.mjs'), file, '--causal']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^q +\[1, 5, 2, 8\] float32$/m);
    expect(stdout).toMatch(/ok: all 5 rows/);
    const missing = await runNode([example('quickstart.mjs'), path.join(folder, 'none.npy')]);
    expect(missing).toMatchObject({ status: 1, stdout: '' });
    expect(missing.stderr).toContain('none.npy: no such file');
  });
});

describe('every other example', () => {
  const others = readdirSync(path.join(root, 'examples')).filter(
    (name) => name.endsWith('.mjs') && name !== 'quickstart.mjs',
  );

  test.each(others)('%s runs, and finds its result right', async (name) => {
    const { status, stdout, stderr } = await runNode([example(name)]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/the same/);
  });

  // Serving pitfall 30: caches in 8 bits are judged by what is generated, too.
  test.each(['bfloat16', 'int8', 'float8_e4m3'])('a text from a cache in %s', async (dtype) => {
    const { status, stdout, stderr } = await runNode([example('decode-loop.mjs'), dtype]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('the same as without a cache');
  });
});
