// The page: a view, the link that leads to it, the keys that move through it.
import { callView } from './call/view.js';
import { h } from './dom.js';
import { memoryView } from './memory/view.js';
import { readFragment, type Settings, views, writeFragment } from './model/settings.js';
import { softmaxView } from './softmax/view.js';
import { tilesView } from './tiles/view.js';
import type { View } from './view.js';

/** Browsers refuse pages that change their address too often. */
const linkDelay = 200;

let settings = readFragment(location.hash);
let link = 0;

function change(part: Partial<Settings>, isPlaying = false): void {
  settings = { ...settings, ...part };
  clearTimeout(link);
  if (!isPlaying) link = setTimeout(writeLink, linkDelay);
  show();
}

function writeLink(): void {
  const fragment = writeFragment(settings);
  if (fragment !== location.hash) history.replaceState(null, '', fragment);
}

/** What the command line was given, a plan and a trace; undefined for none. */
const given = (id: string) => document.getElementById(id)?.textContent ?? undefined;
const [plan, trace] = [given('plan'), given('trace')];

const all: Readonly<Record<Settings['view'], View>> = {
  tiles: tilesView(change),
  memory: memoryView(change),
  softmax: softmaxView(change),
  call: callView({ plan, trace }),
};

const tabs = views.map((name) => {
  const tab = h('a', { href: `#${name}` }, all[name].title);
  tab.addEventListener('click', (event) => {
    event.preventDefault();
    change({ view: name });
  });
  return { name, tab };
});

const main = document.querySelector('main') as HTMLElement;
document.querySelector('nav')?.append(...tabs.map(({ tab }) => tab));
main.append(...views.map((name) => all[name].element));

function show(): void {
  for (const { name, tab } of tabs) {
    const isShown = name === settings.view;
    if (!isShown && !all[name].element.hidden) all[name].hide?.();
    all[name].element.hidden = !isShown;
    tab.toggleAttribute('aria-current', isShown);
    if (isShown) tab.setAttribute('aria-current', 'page');
    tab.href = writeFragment({ ...settings, view: name });
  }
  document.title = `${all[settings.view].title} – FlashAttention, tile by tile`;
  all[settings.view].show(settings);
}

addEventListener('hashchange', () => {
  settings = readFragment(location.hash);
  show();
});

addEventListener('keydown', (event) => {
  const isTaken =
    event.target instanceof Element && event.target.closest('input, select, textarea');
  const isButton = event.key === ' ' && event.target instanceof HTMLButtonElement;
  if (isTaken || isButton || event.altKey || event.ctrlKey || event.metaKey) return;
  all[settings.view].press?.(event);
});

if ((plan !== undefined || trace !== undefined) && location.hash === '')
  settings = { ...settings, view: 'call' };
show();
