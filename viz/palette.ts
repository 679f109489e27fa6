// The colours of the canvas, which are those of the style sheet.

import type { DataColor } from './model/names.js';

const plain = ['card', 'ink', 'soft', 'line', 'hidden', 'wash', 'active'] as const;
const ofData: readonly DataColor[] = ['q', 'k', 'v', 'o', 's', 'm'];
const names = [...plain, ...ofData];

export type Palette = Readonly<Record<(typeof names)[number], string>>;

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const read = names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]);
  return Object.fromEntries(read) as Palette;
}

/** Calls back when the colours have become others: dark, light, paper. */
export function onPaletteChange(callback: () => void): void {
  for (const query of ['(prefers-color-scheme: dark)', 'print']) {
    matchMedia(query).addEventListener('change', callback);
  }
}
