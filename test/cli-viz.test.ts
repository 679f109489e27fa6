// `flash-attention explain` and `viz`: what they print and write. What the page shows is tested in
// test/viz/browser.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { jest } from '@jest/globals';
import type { CallReport } from '../lib/cli/run-report.js';
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
