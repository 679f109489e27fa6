import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { ApiKeys } from '../../src/server/access/api-keys.js';
import { Gate } from '../support/gate.js';
import { ScriptedEngine, saying, tokensOf } from '../support/scripted-engine.js';
import { type Serving, serve, stopServing, until } from '../support/serving.js';

const executablePath = '/usr/bin/chromium';
const hasBrowser = existsSync(executablePath);
/** Milliseconds that the browser has for whatever it is asked: a little less than a test. */
const patience = 110_000;

if (!hasBrowser) {
  test.skip(`the chat page in a browser: there is no ${executablePath}`, () => undefined);
}

(hasBrowser ? describe : describe.skip)('the chat page in a browser', () => {
  const userDataDir = mkdtempSync(path.join(tmpdir(), 'flash-attention-serve-'));
  let browser: BrowserContext;
  let page: Page;
  /** What the page asked for, and what the browser's console said. */
  let requests: string[];
  let complaints: string[];

  beforeAll(async () => {
    browser = await chromium.launchPersistentContext(userDataDir, {
      executablePath,
      timeout: patience,
      args: [
        ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
        ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
      ],
    });
    browser.setDefaultTimeout(patience);
    page = browser.pages()[0] ?? (await browser.newPage());
    page.on('request', (request) => requests.push(request.url()));
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
  });

  afterAll(async () => {
    await browser.close();
    rmSync(userDataDir, { recursive: true, force: true });
  });

  beforeEach(() => {
    requests = [];
    complaints = [];
  });

  afterEach(async () => {
    // The page asks for numbers every now and then.
    await page.goto('about:blank');
    await stopServing();
  });

  const open = async ({ url }: Serving): Promise<void> => {
    await page.goto(url);
  };
  const say = async (text: string): Promise<void> => {
    await page.getByLabel('Message', { exact: true }).fill(text);
    await page.getByRole('button', { name: 'Send' }).click();
  };
  const answers = () => page.locator('article.assistant p');

  test('shows an answer as it comes, its speed and what the cache gave', async () => {
    const gate = new Gate();
    const engine = new ScriptedEngine(async function* (request) {
      yield* tokensOf('Hello', request);
      await gate.opened;
      yield* tokensOf(' <b>there</b>', request);
    });
    engine.cachedTokens = 3;
    await open(await serve(engine));
    await page.getByRole('heading', { name: 'test-model' }).waitFor();
    await say('Hi');
    await page.getByText('Hello', { exact: true }).waitFor();
    await page.getByText('1% in use').waitFor();
    gate.open();
    // Markup of an answer is text.
    await page.getByText('Hello <b>there</b>', { exact: true }).waitFor();
    await page.getByText('18 tokens; 3 of 6 of the prompt from the cache').waitFor();
    await page.getByText(/^\d+\.\d tokens\/s$/).waitFor();
    await page.getByText('0% in use').waitFor();
    expect(complaints).toEqual([]);
  });

  test('sends the system prompt, the settings and the whole chat', async () => {
    const engine = new ScriptedEngine(saying('yes'));
    await open(await serve(engine));
    await page.getByText('Settings').first().click();
    await page.getByLabel('System prompt').fill('Be short.');
    await page.getByLabel('Temperature').fill('0.5');
    await page.getByLabel('Most tokens').fill('7');
    await say('one');
    await page.getByText('The answer is complete.').waitFor({ state: 'attached' });
    await page.getByLabel('Message', { exact: true }).fill('two');
    await page.keyboard.press('Enter');
    await until(() => engine.requests.length === 2);
    expect(engine.requests[1]).toMatchObject({ maxTokens: 7, sampling: { temperature: 0.5 } });
    const prompt = Uint8Array.from(engine.requests[1].prompt.filter((id) => id < 256));
    expect(new TextDecoder().decode(prompt)).toBe('Be short.oneyestwo');
  });

  test('stops an answer, keeps what was said, and goes on', async () => {
    const engine = new ScriptedEngine(async function* (request) {
      yield* tokensOf('never-ending', request);
      await new Gate().opened;
    });
    await open(await serve(engine));
    await say('Hi');
    await page.getByText('never-ending').waitFor();
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.getByText('stopped', { exact: true }).waitFor();
    await until(() => engine.live.size === 0);
    engine.script = saying('again');
    await say('more');
    await page.getByText('again', { exact: true }).waitFor();
    expect(await answers().allTextContents()).toEqual(['never-ending', 'again']);
  });

  test('says what went wrong and gives the message back', async () => {
    const engine = new ScriptedEngine(saying('a'));
    engine.maxLive = 0;
    await open(await serve(engine));
    await say('my question');
    await page.getByRole('alert').getByText('Too many answers are under way.').waitFor();
    expect(await page.getByLabel('Message', { exact: true }).inputValue()).toBe('my question');
  });

  test('says that an answer broke off', async () => {
    const engine: ScriptedEngine = new ScriptedEngine(function* (request) {
      yield* tokensOf('half', request);
      engine.die();
    });
    await open(await serve(engine));
    await say('Hi');
    await page.getByRole('alert').getByText('The engine died.').waitFor();
  });

  test('works with an API key', async () => {
    const apiKeys = new ApiKeys(['the-key']);
    await open(await serve(new ScriptedEngine(saying('welcome')), { apiKeys }));
    await say('Hi');
    await page.getByRole('alert').getByText("You didn't provide an API key").waitFor();
    await page.getByText('Settings').first().click();
    await page.getByLabel('API key').fill('the-key');
    await say('Hi');
    await page.getByText('welcome', { exact: true }).waitFor();
  });

  test('a new chat forgets the old one', async () => {
    const engine = new ScriptedEngine(saying('yes'));
    await open(await serve(engine));
    await say('one');
    await page.getByText('yes', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'New chat' }).click();
    expect(await answers().count()).toBe(0);
    await say('two');
    await until(() => engine.requests.length === 2);
    const prompt = Uint8Array.from(engine.requests[1].prompt.filter((id) => id < 256));
    expect(new TextDecoder().decode(prompt)).toBe('two');
  });

  test('asks nobody but its own server, and its policy forbids anything else', async () => {
    const serving = await serve(new ScriptedEngine(saying('yes')));
    await open(serving);
    await say('Hi');
    await page.getByText('yes', { exact: true }).waitFor();
    const foreign = requests.filter((url) => !url.startsWith(`${serving.url}/`));
    expect(foreign.filter((url) => !url.startsWith('data:'))).toEqual([]);
    const policy = (await fetch(serving.url)).headers.get('content-security-policy');
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain('unsafe');
  });

  test('fits 360 pixels, in the dark and in the light', async () => {
    const long = `${'word '.repeat(60)}${'x'.repeat(200)}`;
    await open(await serve(new ScriptedEngine(saying(long))));
    await page.setViewportSize({ width: 360, height: 640 });
    await say('Hi');
    await page.getByText('xxxx').waitFor();
    await page.getByText('Settings').first().click();
    const backgrounds: string[] = [];
    for (const colorScheme of ['dark', 'light'] as const) {
      await page.emulateMedia({ colorScheme });
      backgrounds.push(await page.evaluate('getComputedStyle(document.body).backgroundColor'));
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
      const send = await page.getByRole('button', { name: 'Send' }).boundingBox();
      expect(send && send.x + send.width <= 360 && send.y + send.height <= 640).toBe(true);
    }
    expect(new Set(backgrounds).size).toBe(2);
  });

  test('every control has a name, and the keyboard reaches all of them', async () => {
    await open(await serve(new ScriptedEngine(saying('yes'))));
    await page.getByText('Settings').first().click();
    await page.getByLabel('Message', { exact: true }).focus();
    const reached = new Set<string>();
    for (let i = 0; i < 10; i++) {
      reached.add(
        await page.evaluate(
          'document.activeElement.id || document.activeElement.tagName.toLowerCase()',
        ),
      );
      await page.keyboard.press('Tab');
    }
    const controls = ['new', 'summary', 'system', 'temperature', 'max-tokens', 'key'];
    expect([...reached]).toEqual(expect.arrayContaining([...controls, 'message', 'send']));
    const unnamed = await page.evaluate(`
      [...document.querySelectorAll('textarea, input, meter')].filter(
        (each) => each.labels.length === 0 && !each.ariaLabel,
      ).length`);
    expect(unnamed).toBe(0);
  });
});
