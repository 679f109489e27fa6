import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Result } from '../result-file.js';
import { headlinesOf } from './page/headlines.js';
import { script } from './page/script.js';
import { sectionsOf } from './page/sections.js';
import { style } from './page/style.js';
import { element, escapeText } from './page/svg.js';
import { machineFacts } from './terminal.js';

/** Writes one page with everything in it: no other file, no font, no server. */
export function writePage(file: string, result: Result): void {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, pageOf(result));
}

function pageOf(result: Result): string {
  const facts = machineFacts(result.machine).map(
    ([label, text]) => element('dt', {}, escapeText(label)) + element('dd', {}, escapeText(text)),
  );
  const tiles = headlinesOf(result.rows).map(({ figure, meaning }) =>
    element(
      'div',
      { class: 'tile' },
      element('strong', {}, escapeText(figure)),
      element('span', {}, escapeText(meaning)),
    ),
  );
  const date = result.date.slice(0, 10);
  const again = ['npm run bench', result.command].filter(Boolean).join(' -- ');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>flash-attention: benchmark of ${date}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>flash-attention on ${escapeText(result.machine.cpu.replace(/ \(.*/, ''))}</h1>
<p>Exact attention in Node.js, measured on ${date} beside the limits of the machine and beside its peers.</p>
${element('dl', { class: 'facts' }, ...facts)}
${element('div', { class: 'tiles' }, ...tiles)}
${sectionsOf(result)}
<footer>Measured in ${Math.ceil(result.seconds / 60)} min by <code>${escapeText(again)}</code>.</footer>
</main>
<div id="tip"></div>
<script>${script}</script>
</body>
</html>
`;
}
