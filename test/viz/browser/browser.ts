// A browser, its pages, and what no page of ours may do in it.
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { launchOptions, patience } from '../../../scripts/browser.mjs';
import { root } from '../../support/cli.js';

const built = path.join(root, 'dist/viz.html');

export interface PageOptions {
  readonly fragment?: string;
  readonly file?: string;
  readonly width?: number;
  readonly dark?: boolean;
}

/** Opens pages of the visualiser, and collects what they should not have done. */
export class Visitor {
  private browser: Browser | undefined;
  readonly complaints: string[] = [];

  async start(): Promise<void> {
    this.browser = await chromium.launch(launchOptions(process.env.FLASH_ATTENTION_BROWSER));
  }

  async stop(): Promise<void> {
    await this.browser?.close();
  }

  async open({ fragment = '', file = built, width = 1280, dark }: PageOptions = {}): Promise<Page> {
    if (!this.browser) throw new Error('the browser was not started');
    const page = await this.browser.newPage({
      viewport: { width, height: 900 },
      colorScheme: dark ? 'dark' : 'light',
    });
    page.setDefaultTimeout(patience);
    page.on('pageerror', (error) => this.complaints.push(`error: ${error.message}`));
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) this.complaints.push(message.text());
    });
    const url = pathToFileURL(file).href;
    page.on('request', (request) => {
      const asked = request.url();
      if (asked.split('#')[0] !== url && !asked.startsWith('data:')) {
        this.complaints.push(`request: ${asked}`);
      }
    });
    await page.goto(url + fragment);
    return page;
  }
}

/** Moves a slider as a hand would: the page hears of it by its events. */
export async function slide(page: Page, id: string, x: number): Promise<void> {
  await page.locator(`#${id}`).fill(String(x));
}
