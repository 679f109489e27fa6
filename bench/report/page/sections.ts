// The parts of the page, each a heading, a few words, charts and the tables behind them.
import type { Result } from '../../result-file.js';
import { isOurs, type Row } from '../../row.js';
import { distinct, groupsOf } from '../figures.js';
import { tableOf } from '../table.js';
import { showLength } from '../units.js';
import {
  bandwidthChart,
  durationChart,
  memoryChart,
  pagesChart,
  roofline,
  shareChart,
  speedupChart,
  timeChart,
  tokensChart,
} from './charts.js';
import { colorClass, groupColor } from './palette.js';
import { element, escapeText } from './svg.js';

interface Section {
  readonly title: string;
  readonly words: string;
  readonly legend?: string;
  readonly charts: readonly string[];
  /** Tabled below the charts. */
  readonly rows?: readonly Row[];
}

const isPeer = ({ who }: Row): boolean => who.startsWith('onnxruntime');
const isStandard = ({ who }: Row): boolean => who.startsWith('standard');

const timeAndShare = (rows: readonly Row[]): string[] =>
  groupsOf(rows).flatMap(([name, group]) => [timeChart(name, group), shareChart(name, group)]);

function forwardSection(rows: readonly Row[]): Section {
  return {
    title: 'Whole sequences',
    words:
      'Time of one call with its result in JavaScript: medians, and bars from the 10th to the 90th ' +
      'percentile. Causal attention counts half the operations.',
    legend: legendOf(rows),
    charts: timeAndShare(rows),
    rows,
  };
}

function backwardSection(rows: readonly Row[]): Section {
  return {
    title: 'Gradients',
    words:
      'dQ, dK and dV from q, k, v, out, lse and dOut: five products where the forward pass has two, ' +
      'so 2.5 times its operations. Standard attention computes the same with three N x N matrices ' +
      'a head in memory.',
    legend: legendOf(rows),
    charts: groupsOf(rows).flatMap(([name, group]) =>
      group.some(({ peakMemory }) => peakMemory !== undefined)
        ? [memoryChart(name, group)]
        : [timeChart(name, group), shareChart(name, group)],
    ),
    rows,
  };
}

function speedupSection(forward: readonly Row[], backward: readonly Row[]): Section {
  const groups = distinct([...forward, ...backward.filter(({ time }) => time)].map((r) => r.group));
  return {
    title: 'How much faster',
    words:
      'Our float32 against whichever onnxruntime operator is fastest at each length, and against ' +
      'standard attention made of the same micro-kernels, which writes and reads the N x N matrices. ' +
      'All take turns in one process.',
    legend: legend(groups.map((name, at) => [name, groupColor(at)])),
    charts: [
      speedupChart('Over the best onnxruntime operator', forward, isPeer),
      speedupChart('Over standard attention, same micro-kernels', forward, isStandard),
      speedupChart('Gradients, over standard attention', backward, isStandard),
    ],
  };
}

function decodeSection(rows: readonly Row[]): Section {
  return {
    title: 'One token at a time',
    words:
      'A decoding step is bound by reading the key-value cache. Bars are bytes of keys and values per ' +
      'second, the mark is the bandwidth at which a plain loop reads as many bytes, measured in turns ' +
      'with the calls.',
    charts: groupsOf(rows).flatMap(([name, group]) =>
      distinct(group.map(({ x }) => x)).map((x) => {
        const here = group.filter((row) => row.x === x);
        return bandwidthChart(`${name}, ${showLength(x)} keys`, here);
      }),
    ),
    rows,
  };
}

function servingSection(rows: readonly Row[]): Section {
  const chartsOf = (name: string, group: readonly Row[]): string[] => {
    if (group.some(({ heldMemory }) => heldMemory !== undefined)) {
      return [tokensChart(name, group), pagesChart(name, group)];
    }
    if (distinct(group.map(({ x }) => x)).length === 1) return [durationChart(name, group)];
    return [timeChart(name, group, { xTitle: 'context', yTitle: 'time of a token' })];
  };
  return {
    title: 'Serving',
    words:
      'Steps of a key-value cache in pages: tables, append, attention and commit, one layer of 32 ' +
      'heads on 8. Nothing that is in the cache is copied; onnxruntime, as Node gets it, copies its ' +
      'whole cache at every token.',
    legend: legendOf(rows),
    charts: groupsOf(rows).flatMap(([name, group]) => chartsOf(name, group)),
    rows,
  };
}

function rooflineSection({ rows }: Result): Section {
  const calls = rows.filter((row) => row.flops && row.bytes && row.time);
  const peak = calls.find(({ limit }) => limit?.kind === 'fma')?.limit?.perSecond;
  const limits = rows.filter(({ suite }) => suite === 'limits');
  // Over the largest buffer, with all threads: the last row.
  const bandwidth = limits.filter(({ rate }) => rate?.unit === 'B').at(-1)?.rate?.perSecond;
  return {
    title: 'What bounds it',
    words:
      'Each point is a call: how much it computes per byte of its inputs and outputs, and how fast. The ' +
      'dashed roof is what this machine can do from memory; caches lie above its slope.',
    legend: legendOf(calls),
    charts: peak && bandwidth ? [roofline(calls, peak, bandwidth)] : [],
    rows: limits,
  };
}

function memorySection(rows: readonly Row[]): Section {
  return {
    title: 'Memory',
    words:
      'Growth of a fresh process at its highest point during one call: 16 heads, head dim 64, float32. ' +
      'The dashed line is what inputs and output take.',
    legend: legendOf(rows),
    charts: groupsOf(rows).map(([name, group]) => memoryChart(name, group)),
    rows,
  };
}

function smallSection(rows: readonly Row[]): Section {
  return {
    title: 'Overhead and the event loop',
    words: 'Logarithmic bars. A call runs on threads of its own, so timers go on ticking.',
    charts: groupsOf(rows).map(([name, group]) => durationChart(name, group)),
    rows,
  };
}

/** Everything the result has rows for; suites this page knows nothing of come as plain charts. */
export function sectionsOf(result: Result): string {
  const of = (...suites: string[]) => result.rows.filter(({ suite }) => suites.includes(suite));
  const small = ['overhead', 'responsiveness'];
  const known = ['limits', 'forward', 'backward', 'decode', 'serving', 'memory', ...small];
  const others = distinct(result.rows.map(({ suite }) => suite)).filter((s) => !known.includes(s));
  const sections = [
    forwardSection(of('forward')),
    backwardSection(of('backward')),
    speedupSection(of('forward'), of('backward')),
    ...others.map((suite) => ({
      title: suite,
      words: '',
      legend: legendOf(of(suite)),
      charts: timeAndShare(of(suite)),
      rows: of(suite),
    })),
    decodeSection(of('decode')),
    servingSection(of('serving')),
    rooflineSection(result),
    memorySection(of('memory')),
    smallSection(of(...small)),
  ];
  return sections.map(sectionMarkup).join('\n');
}

function sectionMarkup({ title, words, legend = '', charts, rows = [] }: Section): string {
  const cards = charts.filter(Boolean).map((chart) => element('div', { class: 'card' }, chart));
  if (cards.length === 0 && rows.length === 0) return '';
  return element(
    'section',
    {},
    element('h2', {}, escapeText(title)),
    element('p', {}, escapeText(words)),
    legend,
    element('div', { class: 'charts' }, ...cards),
    rows.length > 0 ? tables(rows) : '',
  );
}

function legend(entries: readonly (readonly [name: string, color: string])[]): string {
  const items = entries.map(([name, color]) => {
    const label = element('b', {}, escapeText(name));
    return element('span', { class: color, 'data-who': name }, '<i></i>', label);
  });
  return element('div', { class: 'legend' }, ...items);
}

const legendOf = (rows: readonly Row[]): string =>
  legend(distinct(rows.map(({ who }) => who)).map((who) => [who, colorClass(who)]));

function tables(rows: readonly Row[]): string {
  const all = groupsOf(rows).map(([name, group]) => {
    const { titles, lines } = tableOf(group, rows);
    const cell = (tag: string) => (content: string, at: number) =>
      element(tag, { class: titles[at] === 'who' ? 'name' : undefined }, escapeText(content));
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
