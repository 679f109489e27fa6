import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Result } from '../result-file.js';
import { isOurs, type Row } from '../suite.js';
import { distinct, groupsOf } from './figures.js';
import {
  bandwidthChart,
  durationChart,
  memoryChart,
  roofline,
  shareChart,
  speedupChart,
  timeChart,
} from './page/charts.js';
import { headlinesOf } from './page/headlines.js';
import { colorClass } from './page/palette.js';
import { script, style } from './page/style.js';
import { element, escapeText } from './page/svg.js';
import { tableOf } from './table.js';
import { machineFacts } from './terminal.js';
import { showLength } from './units.js';

/** Writes one page with everything in it: no other file, no font, no server. */
export function writePage(file: string, result: Result): void {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, pageOf(result));
}

const cards = (charts: readonly string[]): string =>
  element(
    'div',
    { class: 'charts' },
    ...charts.filter(Boolean).map((chart) => element('div', { class: 'card' }, chart)),
  );

function legend(rows: readonly Row[]): string {
  const items = distinct(rows.map(({ who }) => who)).map((who) =>
    element(
      'span',
      { class: colorClass(who), 'data-who': who },
      '<i></i>',
      element('b', {}, escapeText(who)),
    ),
  );
  return element('div', { class: 'legend' }, ...items);
}

function tables(rows: readonly Row[]): string {
  const all = groupsOf(rows).map(([name, group]) => {
    const { titles, lines } = tableOf(group, rows);
    const cell = (tag: string) => (text: string, at: number) =>
      element(tag, { class: titles[at] === 'who' ? 'name' : undefined }, escapeText(text));
    const body = lines.map((line, at) =>
      element('tr', { class: isOurs(group[at]) ? 'own' : undefined }, ...line.map(cell('td'))),
    );
    return element(
      'table',
      {},
      element('caption', {}, escapeText(name)),
      element('thead', {}, element('tr', {}, ...titles.map(cell('th')))),
      element('tbody', {}, ...body),
    );
  });
  const scroll = element('div', { class: 'scroll' }, ...all);
  return element('details', {}, '<summary>All figures</summary>', scroll);
}

function section(title: string, words: string, rows: readonly Row[], ...parts: string[]): string {
  if (rows.length === 0) return '';
  const heading = element('h2', {}, escapeText(title));
  return element('section', {}, heading, element('p', {}, words), ...parts, tables(rows));
}

const isPeer = ({ who }: Row): boolean => who.startsWith('onnxruntime');

function sections({ rows, machine }: Result): string[] {
  const of = (suite: string) => rows.filter((row) => row.suite === suite);
  const [limits, forward, decode, memory] = ['limits', 'forward', 'decode', 'memory'].map(of);
  const small = [...of('overhead'), ...of('responsiveness')];
  const known = ['limits', 'forward', 'decode', 'memory', 'overhead', 'responsiveness'];
  const others = distinct(rows.map(({ suite }) => suite)).filter((name) => !known.includes(name));
  const peak = forward.find(({ limit }) => limit?.kind === 'fma')?.limit?.perSecond;
  const memoryRates = limits.filter(({ group }) => group.startsWith('reading 512 MiB'));
  const bandwidth = memoryRates.find(({ x }) => x === machine.threads)?.rate?.perSecond;
  const roof = peak && bandwidth ? [roofline([...forward, ...decode], peak, bandwidth)] : [];
  return [
    section(
      'Whole sequences',
      'Time of one call, the result in JavaScript: medians, bars from the 10th to the 90th percentile. ' +
        'Causal attention counts half the operations.',
      forward,
      legend(forward),
      cards([
        ...groupsOf(forward).map(([name, group]) => timeChart(name, group)),
        ...groupsOf(forward).map(([name, group]) => shareChart(name, group)),
      ]),
    ),
    section(
      'Against the best onnxruntime operator',
      'Our float32 against whichever of its operators is fastest at each length, measured in turns.',
      forward.some(isPeer) ? forward : [],
      legendOfGroups(forward),
      cards([
        speedupChart('Speed-up over onnxruntime', forward, isPeer),
        speedupChart('Speed-up over standard attention, same kernels', forward, ({ who }) =>
          who.startsWith('standard'),
        ),
      ]),
    ),
    section(
      'One token at a time',
      'Reading the key-value cache bounds a decoding step: the mark is the read bandwidth measured in the ' +
        'same minute over as many bytes, the number what share of it a call reaches.',
      decode,
      cards(
        groupsOf(decode).flatMap(([name, group]) =>
          distinct(group.map(({ x }) => x)).map((x) =>
            bandwidthChart(
              `${name}, ${showLength(x)} keys`,
              group.filter((row) => row.x === x),
            ),
          ),
        ),
      ),
    ),
    section(
      'What bounds it',
      'Each point is a call: how much it computes per byte it must move, and how fast. The dashed roof is ' +
        'what the machine can do.',
      roof.length > 0 ? limits : [],
      legend([...forward, ...decode]),
      cards(roof),
    ),
    section(
      'Memory',
      'Growth of a fresh process at its highest point during one call: 16 heads, head dim 64, float32.',
      memory,
      legend(memory),
      cards(groupsOf(memory).map(([name, group]) => memoryChart(name, group))),
    ),
    section(
      'Overhead and the event loop',
      'Logarithmic bars. A call runs on threads of its own: timers go on ticking.',
      small,
      cards(groupsOf(small).map(([name, group]) => durationChart(name, group))),
    ),
    ...others.map((name) =>
      section(
        name,
        '',
        of(name),
        legend(of(name)),
        cards(
          groupsOf(of(name)).flatMap(([group, list]) => [
            timeChart(group, list),
            shareChart(group, list),
          ]),
        ),
      ),
    ),
  ];
}

function legendOfGroups(rows: readonly Row[]): string {
  const colors = ['c-ours', 'c-alternative', 'c-peer', 'c-onnx', 'c-standard'];
  const items = groupsOf(rows).map(([name], i) =>
    element(
      'span',
      { class: colors[i % colors.length], 'data-who': name },
      '<i></i>',
      element('b', {}, escapeText(name)),
    ),
  );
  return element('div', { class: 'legend' }, ...items);
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
  const again = `npm run bench -- ${result.command}`.trim();
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
${sections(result).filter(Boolean).join('\n')}
<footer>Measured in ${Math.round(result.seconds / 60)} min by <code>${escapeText(again)}</code>.</footer>
</main>
<div id="tip"></div>
<script>${script}</script>
</body>
</html>
`;
}
