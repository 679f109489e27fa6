// One page with everything in it: no other file, no font, no script, no server.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Chart } from './chart.js';
import { document, draw, h, isEmpty } from './draw.js';
import type { Table } from './table.js';

export interface Section {
  readonly title: string;
  readonly words: string;
  readonly charts: readonly Chart[];
  /** What lies behind the charts, each with its caption. */
  readonly tables: readonly (readonly [caption: string, table: Table])[];
}

export interface Page {
  /** Of the window. */
  readonly title: string;
  readonly heading: string;
  readonly words: string;
  readonly facts: readonly (readonly [label: string, text: string])[];
  readonly headlines: readonly { readonly figure: string; readonly meaning: string }[];
  readonly sections: readonly Section[];
  readonly footer: string;
}

/** Writes the page; `folder` is that of this source, which has page.css. */
export function writePage(file: string, page: Page, folder: string): void {
  mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  writeFileSync(file, pageOf(page, readFileSync(path.join(folder, 'page.css'), 'utf8')));
}

export function pageOf(page: Page, style: string): string {
  const { title, heading, words, facts, headlines, sections, footer } = page;
  const head = h(
    'head',
    {},
    h('meta', { charset: 'utf-8' }),
    h('meta', { name: 'viewport', content: 'width=device-width, initial-scale=1' }),
    h('link', { rel: 'icon', href: 'data:,' }), // browsers ask for one otherwise
    h('title', {}, title),
    h('style', {}, style),
  );
  const main = h(
    'main',
    {},
    h('h1', {}, heading),
    h('p', {}, words),
    h('dl', { class: 'facts' }, ...facts.flatMap(([a, b]) => [h('dt', {}, a), h('dd', {}, b)])),
    h(
      'div',
      { class: 'headlines' },
      ...headlines.map(({ figure, meaning }) => h('p', {}, h('strong', {}, figure), meaning)),
    ),
    ...sections.map(drawSection),
    h('footer', {}, footer),
  );
  document.documentElement.replaceChildren(head, h('body', {}, main));
  return `${document.toString()}\n`;
}

function drawSection({ title, words, charts, tables }: Section): HTMLElement {
  const figures = charts.filter((chart) => !isEmpty(chart)).map(draw);
  const behind = tables.map(([caption, table]) => drawTable(caption, table));
  return h(
    'section',
    {},
    h('h2', {}, title),
    h('p', {}, words),
    h('div', { class: 'charts' }, ...figures),
    h(
      'details',
      {},
      h('summary', {}, 'All figures'),
      h('div', { class: 'scroll', tabindex: '0' }, ...behind),
    ),
  );
}

function drawTable(caption: string, { titles, lines, own }: Table): HTMLElement {
  const who = titles.indexOf('who');
  const cells = (tag: string, texts: readonly string[]) =>
    texts.map((text, at) => h(tag, at === who ? { class: 'who' } : {}, text));
  return h(
    'table',
    {},
    h('caption', {}, caption),
    h('thead', {}, h('tr', {}, ...cells('th', titles))),
    h(
      'tbody',
      {},
      ...lines.map((line, at) =>
        h('tr', own.includes(at) ? { class: 'own' } : {}, ...cells('td', line)),
      ),
    ),
  );
}
