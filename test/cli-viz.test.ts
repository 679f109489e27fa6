// `flash-attention explain` and `viz`: what they print and write. What the page shows is tested in
// test/viz/browser.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { jest } from '@jest/globals';
import type { CallReport } from '../lib/cli/run-report.js';
import { tensor } from '../lib/index.js';
import { safetensorsParts } from '../lib/tensor/safetensors.js';
import { runCli, scratchFolder } from './support/cli.js';

// Every test starts processes, on machines that may be busy.
jest.setTimeout(120_000);

const { folder, done } = scratchFolder();
afterAll(done);
const at = (name: string) => path.join(folder, name);

const shape = ['--seqlen-q', '100', '--seqlen-k', '300', '--heads', '4', '--head-dim', '32'];

describe('explain', () => {
  test('prints the call and its plan as JSON', async () => {
    const options = ['--kv-heads', '2', '--window', 'inf,0', '--dtype', 'bfloat16', '--json'];
    const { status, stdout, stderr } = await runCli(['explain', ...shape, ...options]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const report = JSON.parse(stdout) as CallReport;
    expect(report).toMatchObject({
      q: { dtype: 'bfloat16', shape: [1, 100, 4, 32] },
      k: { dtype: 'bfloat16', shape: [1, 300, 2, 32] },
      v: { dtype: 'bfloat16', shape: [1, 300, 2, 32] },
      options: { window: ['Infinity', 0] },
      plan: { device: 'cpu', packedHeads: 2 },
    });
    expect(report.device.name).toBe('cpu');
    expect(report.plan.tilesFull + report.plan.tilesPartial).toBeGreaterThan(0);
  });

  test('is readable, in either layout', async () => {
    const { status, stdout } = await runCli(['explain', ...shape, '--layout', 'bhsd']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^q +\[1, 4, 100, 32\] float32$/m);
    expect(stdout).toMatch(/^plan +cpu\./m);
    expect(stdout).toContain('standard attention:');
  });

  test('needs sizes, and passes on what the library refuses', async () => {
    const none = await runCli(['explain', '--heads', '4']);
    expect(none.status).toBe(1);
    expect(none.stderr).toContain("required option '--seqlen-q <n>' not specified");
    const wrong = await runCli(['explain', ...shape, '--kv-heads', '3']);
    expect(wrong.status).toBe(1);
    expect(wrong.stderr).toMatch(/^error: Expected /);
  });
});

/** What Chrome's trace format asks of an array of events, and what is ours in it. */
function expectChromeTrace(text: string, workItems: number) {
  const events = JSON.parse(text) as Record<string, unknown>[];
  const items = events.filter(({ ph }) => ph === 'X');
  for (const event of events) {
    expect(event).toMatchObject({ pid: 1, tid: expect.any(Number), name: expect.any(String) });
    if (event.ph === 'X') {
      const { ts, dur, args } = event as { ts: number; dur: number; args: { item: number } };
      expect(Math.min(ts, dur, args.item)).toBeGreaterThanOrEqual(0);
      expect(event.cat).toBe('cpu');
    } else {
      expect(event).toMatchObject({ ph: 'M', name: 'thread_name', args: expect.anything() });
    }
  }
  expect(items.filter(({ name }) => name === 'attention')).toHaveLength(workItems);
}

describe('--trace', () => {
  test('explain runs the call, and writes which thread did what', async () => {
    const file = at('trace.json');
    const args = ['explain', ...shape, '--device', 'cpu', '--json', '--trace', file];
    const { status, stdout, stderr } = await runCli(args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const { plan } = JSON.parse(stdout) as CallReport;
    expectChromeTrace(readFileSync(file, 'utf8'), plan.workItems);

    const page = at('with-trace.html');
    await runCli(['viz', '--trace', file, '--out', page, '--no-open']);
    expect(readFileSync(page, 'utf8')).toContain('<script type="application/json" id="trace">');
  });

  test('run traces the call on what it was given, and says that it wrote it', async () => {
    const q = tensor(new Float32Array(4 * 64 * 32).fill(1), [1, 64, 4, 32], { device: 'cpu' });
    const inputs = at('inputs.safetensors');
    const data = { dtype: 'float32', shape: q.shape, data: await q.data() } as const;
    const parts = safetensorsParts({ q: data, k: data, v: data });
    writeFileSync(inputs, Buffer.concat(parts.map((part) => Buffer.from(part.buffer))));
    const file = at('run-trace.json');
    const args = ['run', inputs, '--device', 'cpu', '--json', '--trace', file];
    const { status, stdout, stderr } = await runCli(args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const report = JSON.parse(stdout);
    expect(report.written).toEqual([file]);
    expectChromeTrace(readFileSync(file, 'utf8'), report.plan.workItems);
  });

  test('where it cannot be written, nothing runs', async () => {
    const args = ['explain', ...shape, '--device', 'cpu', '--trace', at('no/trace.json')];
    const { status, stdout, stderr } = await runCli(args);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(/--trace .*: no such file, for there is no folder/);
  });
});

describe('viz', () => {
  test('writes a page that is whole in itself', async () => {
    const out = at('page.html');
    const { status, stdout, stderr } = await runCli(['viz', '--out', out, '--no-open']);
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: `${out}\n`, stderr: '' });
    const page = readFileSync(out, 'utf8');
    expect(page).toContain('<title>FlashAttention, tile by tile</title>');
    expect(page.length).toBeLessThan(300_000);
    expect(page).not.toMatch(/<(link|script|img)[^>]+(href|src)="(?!data:)/);
    expect(page).not.toContain('id="plan"');
  });

  test('puts the plan into it, whatever is in its texts', async () => {
    const plan = { note: '</script><!-- $& $1', value: 1 };
    writeFileSync(at('plan.json'), JSON.stringify(plan));
    const out = at('with-plan.html');
    await runCli(['viz', at('plan.json'), '--out', out, '--no-open']);
    const page = readFileSync(out, 'utf8');
    const [, text] = /<script type="application\/json" id="plan">(.*?)<\/script>/s.exec(page) ?? [];
    expect(JSON.parse(text)).toEqual(plan);
  });

  test.each<[string, string[], RegExp]>([
    ['no such file', ['nowhere.json'], /nowhere\.json: no such file/],
    ['no JSON', [at('text.json')], /text\.json: is no JSON: /],
    ['its own input', [at('same.json'), '--out', at('same.json')], /is the input/],
    ['no folder', ['--out', at('no/page.html')], /--out .*: no such file, for there is no folder/],
  ])('%s is said, and nothing is written', async (_, args, message) => {
    writeFileSync(at('text.json'), 'tiles');
    writeFileSync(at('same.json'), '{}');
    const { status, stdout, stderr } = await runCli(['viz', ...args, '--no-open']);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(message);
    expect(readFileSync(at('same.json'), 'utf8')).toBe('{}');
  });

  test('where no browser can be opened, it says what to open', async () => {
    const out = at('unopened.html');
    const { status, stderr } = await runCli(['viz', '--out', out], { env: { PATH: folder } });
    expect(status).toBe(0);
    expect(stderr).toContain('unopened.html in a browser');
  });
});
