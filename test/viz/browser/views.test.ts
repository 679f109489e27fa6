import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Page } from 'playwright-core';
import { readFragment, views } from '../../../viz/model/settings.js';
import { root, runCli, scratchFolder } from '../../support/cli.js';
import { slide, Visitor } from './browser.js';

const visitor = new Visitor();
const { folder, done } = scratchFolder();
beforeAll(() => visitor.start());
afterAll(async () => {
  await visitor.stop();
  done();
});

afterEach(() => {
  expect(visitor.complaints).toEqual([]);
});

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const example = readFileSync(path.join(root, 'viz/call/example.json'), 'utf8');

/** What axe-core finds wrong, with the elements. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const found = (await page.evaluate("axe.run({ resultTypes: ['violations'] })")) as {
    violations: { id: string; nodes: { html: string }[] }[];
  };
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html)}`);
}

const looks = views.flatMap((view) => [
  { view, width: 1280, dark: false },
  { view, width: 1280, dark: true },
  { view, width: 360, dark: false },
]);

test.each(looks)('$view, $width wide, dark $dark: axe-core finds nothing', async (look) => {
  const page = await visitor.open({ ...look, fragment: `#${look.view}?step=9` });
  expect(await violations(page)).toEqual([]);
  await page.close();
});

test.each(views)('%s fits on a phone, 360 wide', async (view) => {
  const page = await visitor.open({ fragment: `#${view}?step=9`, width: 360 });
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
  await page.close();
});

test('tabs lead from view to view, and keep what was set', async () => {
  const page = await visitor.open({ fragment: '#tiles?n=32&causal=1' });
  for (const title of ['Memory and IO', 'Softmax', 'Your own call', 'Tiles']) {
    await page.getByRole('link', { name: title }).click();
    await page.waitForFunction(`document.title.startsWith(${JSON.stringify(title)})`);
    const current = page.locator('nav [aria-current="page"]');
    expect(await current.textContent()).toBe(title);
  }
  expect(await page.locator('#n').inputValue()).toBe('32');
  expect(await page.locator('#causal').isChecked()).toBe(true);
  await page.close();
});

test('paper shows the picture, and nothing to press', async () => {
  const page = await visitor.open({ fragment: '#tiles?step=20' });
  await page.emulateMedia({ media: 'print' });
  for (const hidden of ['nav', '.presets', '.player']) {
    expect(await page.locator(hidden).isVisible()).toBe(false);
  }
  expect(await page.locator('canvas').first().isVisible()).toBe(true);
  await page.close();
});

describe('Memory and IO', () => {
  test('marks the point of the controls in curves and table', async () => {
    const page = await visitor.open({ fragment: '#memory?logN=12&headDim=64&heads=1&bytes=2' });
    // S and P of 4096 x 4096 at two bytes, and one lse for each of 4096 queries.
    const legend = page.locator('.lines').first();
    expect(await legend.textContent()).toContain('64.0 MiB');
    expect(await legend.textContent()).toContain('8.00 KiB');
    expect(await page.locator('tr.marked').last().textContent()).toMatch(/^4k64\.0 MiB8\.00 KiB/);
    await slide(page, 'logN', 17);
    expect(await legend.textContent()).toContain('64.0 GiB');
    expect(await page.locator('tr.marked').last().textContent()).toMatch(/^128k64\.0 GiB/);
    await page.close();
  });

  test('finds a larger tile for a larger SRAM', async () => {
    const page = await visitor.open({ fragment: '#memory' });
    const rows = async () =>
      Number(/= (\d+) ×/.exec((await page.locator('#best').textContent()) ?? '')?.[1]);
    const before = await rows();
    await slide(page, 'sram', 256);
    expect(await rows()).toBeGreaterThan(before);
    await page.close();
  });
});

test('Softmax: a score that is dragged changes all three, which agree', async () => {
  const page = await visitor.open({ fragment: '#softmax' });
  const before = await page.locator('.ways').textContent();
  const third = page.getByRole('slider', { name: 'Score x3' });
  await third.fill('7.5');
  expect(await page.locator('.ways').textContent()).not.toBe(before);
  const results = await page.locator('.ways .result').all();
  expect(results).toHaveLength(3);
  for (const result of results) {
    expect(Number(await result.getAttribute('data-difference'))).toBeLessThan(1e-15);
  }
  await page.waitForURL(/scores=/);
  expect(readFragment(new URL(page.url()).hash).scores[3]).toBe(7.5);
  expect(await third.getAttribute('aria-valuetext')).toMatch(/^7\.5, probability 0\.\d+/);
  await page.close();
});

describe('Your own call', () => {
  const agreement = (page: Page) => page.locator('#agreement').getAttribute('data-agrees');

  test('an example is drawn at first, with the tiles that its plan counts', async () => {
    const page = await visitor.open({ fragment: '#call' });
    expect(await agreement(page)).toBe('true');
    await page.close();
  });

  test('is pasted, or opened as a file', async () => {
    const page = await visitor.open({ fragment: '#call' });
    await page.locator('#plan-text').fill(example);
    expect(await agreement(page)).toBe('true');
    await page.locator('#plan-text').fill('');
    expect(await page.locator('#agreement').count()).toBe(0);
    const file = path.join(folder, 'plan.json');
    writeFileSync(file, example);
    await page.locator('#plan-file').setInputFiles(file);
    await page.locator('#agreement').waitFor();
    expect(await agreement(page)).toBe('true');
    await page.close();
  });

  test('what is no plan is said', async () => {
    const page = await visitor.open({ fragment: '#call' });
    await page.locator('#plan-text').fill('{}');
    expect(await page.locator('#plan-error').textContent()).toContain(
      'Expected an object with a plan',
    );
    const { plan } = JSON.parse(example);
    await page.locator('#plan-text').fill(JSON.stringify(plan));
    expect(await page.locator('.call-drawing').textContent()).toContain('No tiles are drawn.');
    await page.close();
  });

  test('a trace from the command line is drawn beside the tiles', async () => {
    const file = path.join(folder, 'trace.json');
    const shape = ['--seqlen-q', '512', '--heads', '4', '--head-dim', '32', '--device', 'cpu'];
    const explained = await runCli(['explain', ...shape, '--json', '--trace', file]);
    const { plan } = JSON.parse(explained.stdout);
    const out = path.join(folder, 'traced.html');
    const input = Buffer.from(explained.stdout);
    await runCli(['viz', '-', '--trace', file, '--out', out, '--no-open'], { input });
    const page = await visitor.open({ file: out });
    expect(await agreement(page)).toBe('true');
    expect(await page.locator('#timeline').count()).toBe(1);
    const heading = page.getByRole('heading', { name: /work items in/ });
    expect(await heading.textContent()).toMatch(
      new RegExp(`^${plan.workItems} work items in .+s$`),
    );
    expect(await violations(page)).toEqual([]);
    await page.locator('#trace-file').setInputFiles(out);
    await page.locator('#trace-error', { hasText: 'no JSON' }).waitFor();
    expect(await page.locator('#timeline').count()).toBe(0);
    await page.locator('#trace-file').setInputFiles(file);
    await page.locator('#timeline').waitFor();
    await page.close();
  });

  test('from the command line: explain --json, viz, and the page shows it', async () => {
    const shape = ['--seqlen-q', '300', '--heads', '4', '--kv-heads', '2', '--head-dim', '32'];
    const explained = await runCli(['explain', ...shape, '--causal', '--json']);
    const out = path.join(folder, 'page.html');
    const input = Buffer.from(explained.stdout);
    const written = await runCli(['viz', '-', '--out', out, '--no-open'], { input });
    expect(written).toEqual({ status: 0, stdout: `${out}\n`, stderr: '' });
    const page = await visitor.open({ file: out });
    expect(await agreement(page)).toBe('true');
    expect(await page.locator('.facts').textContent()).toContain('4 heads of 32, 2 kv heads');
    await page.close();
  });
});

test('the page is one file of less than 300 KB', () => {
  expect(statSync(path.join(root, 'dist/viz.html')).size).toBeLessThan(300_000);
});
