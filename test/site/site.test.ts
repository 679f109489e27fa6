// The built site in a browser.
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { launchOptions, patience } from '../../scripts/browser.mjs';
import { root } from '../support/cli.js';

const site = path.join(root, 'site');

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

let preview: ChildProcess | undefined;
let browser: Browser | undefined;
let address = '';
const complaints: string[] = [];

/** @returns whether the site is there; somebody else may have taken the port. */
async function serveSite(): Promise<boolean> {
  const port = await freePort();
  address = `http://localhost:${port}`;
  const vitepress = path.join(site, 'node_modules/vitepress/bin/vitepress.js');
  const args = [vitepress, 'preview', '.', '--port', String(port)];
  preview = spawn(process.execPath, args, { cwd: site, stdio: 'ignore' });
  while (!(await fetch(address).catch(() => undefined))?.ok) {
    if (preview.exitCode !== null) return false;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return true;
}

beforeAll(async () => {
  let tries = 1;
  while (!(await serveSite())) if (tries++ === 3) throw new Error('vitepress preview has ended');
  browser = await chromium.launch(launchOptions(process.env.FLASH_ATTENTION_BROWSER));
});

afterAll(async () => {
  await browser?.close();
  preview?.kill();
});

afterEach(() => {
  expect(complaints.splice(0)).toEqual([]);
});

interface Look {
  readonly width?: number;
  readonly dark?: boolean;
}

/** Opens a page of the site, and collects what it should not do. */
async function open(to: string, { width = 1280, dark }: Look = {}): Promise<Page> {
  if (!browser) throw new Error('the browser was not started');
  const page = await browser.newPage({
    viewport: { width, height: 900 },
    colorScheme: dark ? 'dark' : 'light',
  });
  page.setDefaultTimeout(patience);
  page.on('pageerror', (error) => complaints.push(`${to}: ${error.message}`));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(`${to}: ${message.text()}`);
  });
  page.on('request', (request) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(`${address}/`)) {
      complaints.push(`${to}: asks for ${request.url()}`);
    }
  });
  // Reports are single files and name no icon: browsers then look for one by themselves.
  await page.route('**/favicon.ico', (route) => route.fulfill({ status: 204 }));
  await page.goto(address + to);
  // Pages of VitePress live once their script has taken them over.
  await page.waitForFunction(
    "!document.querySelector('#app') || '__vue_app__' in document.querySelector('#app')",
  );
  return page;
}

/** The pages below a folder of the built site, as a reader's address has them. */
const pagesIn = (folder: string) =>
  readdirSync(path.join(site, 'dist', folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.html') && name !== '404.html')
    .map((name) => path.posix.join('/', folder, name.replaceAll(path.sep, '/')));

const all = pagesIn('');
const documents = all.filter((page) => !page.startsWith('/api/'));

test('there are pages of every kind', () => {
  const kinds = ['/guides/', '/api/flash-attention/functions/', '/design/', '/bench/', '/viz/'];
  for (const kind of kinds) expect(all.filter((page) => page.startsWith(kind))).not.toEqual([]);
});

const samples = ['functions/flashAttention', 'classes/Tensor', 'serving/classes/KvCache'];
const shown = [
  ...documents,
  '/api/index.html',
  ...samples.map((page) => `/api/flash-attention/${page}.html`),
];

test.each(shown)('%s loads, with a title and a heading, and complains of nothing', async (to) => {
  const page = await open(to);
  expect(await page.title()).not.toBe('');
  expect(await page.locator('h1').count()).toBe(1);
  await page.close();
});

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What axe-core finds wrong, with the elements. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const found = (await page.evaluate("axe.run({ resultTypes: ['violations'] })")) as {
    violations: { id: string; nodes: { html: string }[] }[];
  };
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html)}`);
}

const looks = [
  '/',
  '/guides/getting-started.html',
  '/api/',
  '/api/flash-attention/functions/flashAttention.html',
].flatMap((to) => [
  { to, width: 1280, dark: false },
  { to, width: 1280, dark: true },
  { to, width: 360, dark: false },
]);

test.each(looks)(
  '$to, $width wide, dark $dark: axe-core finds nothing',
  async ({ to, ...look }) => {
    const page = await open(to, look);
    expect(await violations(page)).toEqual([]);
    await page.close();
  },
);

test.each(['/', '/guides/coming-from.html', '/support.html'])(
  '%s fits on a phone, 360 wide',
  async (to) => {
    const page = await open(to, { width: 360 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
    await page.close();
  },
);

test('a reader comes from the front page to a guide, the API, the visualiser and a report', async () => {
  const page = await open('/');
  await page.getByRole('link', { name: 'Training', exact: true }).first().click();
  await page.waitForURL('**/guides/training.html');
  await page.getByRole('link', { name: 'API', exact: true }).first().click();
  await page.waitForURL('**/api/');
  await page.getByRole('link', { name: 'Benchmarks' }).click();
  await page.waitForURL('**/reports.html');
  await page.locator('main table a').first().click();
  await page.waitForURL('**/bench/**/');
  expect(await page.locator('svg').count()).toBeGreaterThan(0);
  await page.goBack();
  await page.getByRole('banner').getByRole('link', { name: 'Visualiser' }).click();
  await page.waitForURL('**/viz/**');
  await page.locator('#play').waitFor();
  await page.close();
});

test('search finds a function by its name', async () => {
  const page = await open('/');
  await page.keyboard.press('Control+k');
  await page.locator('#localsearch-input').fill('mergeAttentionStates');
  await page.locator('#localsearch-list a[href*="mergeAttentionStates"]').first().waitFor();
  await page.close();
});
