// The page of a result of `npm run bench:serve`.
import type { Chart } from '../../../bench/report/chart.js';
import { distinct, groupsOf } from '../../../bench/report/figures.js';
import type { Headline } from '../../../bench/report/headlines.js';
import type { Page, Section } from '../../../bench/report/page.js';
import type { Table } from '../../../bench/report/table.js';
import { machineFacts } from '../../../bench/report/terminal.js';
import { digits, showFactor } from '../../../bench/report/units.js';
import { isOurs } from '../../../bench/row.js';
import type { Figure } from '../figures.js';
import type { ServeResult, ServeRow } from '../row.js';
import { type ColumnName, showLoad, tableOf, tableOfFigures } from '../table.js';
import { latencyCharts, memoryChart, rateChart, sharedChart } from './charts.js';

type Rows = readonly ServeRow[];

/** Rows of one load each, the least load first. */
const pointsOf = (rows: Rows): Rows[] =>
  distinct(rows.map(({ x }) => x))
    .sort((a, b) => a - b)
    .map((x) => rows.filter((row) => row.x === x));

/** The points with the least and with the most load: one where they are the same. */
const endsOf = (points: readonly Rows[]): Rows[] =>
  distinct([points[0], points[points.length - 1]]);

const nameOf = ([{ context }]: Rows): string => `Context ${context}`;

/** Charts of each context. */
const ofGroups = (rows: Rows, charts: (name: string, group: Rows) => Chart[]): Chart[] =>
  groupsOf(rows).flatMap(([, group]) => charts(nameOf(group), group));

const tablesOf = (rows: Rows, ...names: ColumnName[]): [string, Table][] =>
  groupsOf(rows).map(([group, own]) => [group, tableOf(own, names)]);

function throughput(rows: Rows): Section {
  return {
    title: 'Tokens per second',
    words:
      'All tokens of the answers by all the time, prompts included, and the same while every user ' +
      'has an answer under way and no prompt is computed. Users ask again when they are answered. ' +
      'Bars reach from the slowest round to the fastest.',
    charts: ofGroups(rows, (name, group) => [
      rateChart(`${name}, prompts included`, group, (row) => row.tokensPerSecond),
      rateChart(`${name}, decoding`, group, (row) => row.decodeTokensPerSecond),
    ]),
    tables: tablesOf(rows, 'rate', 'decoding', 'agreement'),
  };
}

function firstToken(rows: Rows): Section {
  return {
    title: 'Time to first token',
    words:
      'From the request to the first token of its answer: half and 99 of 100 requests wait no longer.',
    charts: ofGroups(rows, (name, group) =>
      latencyCharts(name, group, 'time to first token', (row) => row.firstToken),
    ),
    tables: tablesOf(rows, 'firstToken', 'answer'),
  };
}

function perToken(rows: Rows): Section {
  return {
    title: 'Time per token',
    words:
      'Between a token and the next of the same answer. A high p99 beside a low median is an answer ' +
      'that stands still while prompts of others are computed.',
    charts: ofGroups(rows, (name, group) =>
      latencyCharts(name, group, 'time per token', (row) => row.perToken),
    ),
    tables: tablesOf(rows, 'perToken'),
  };
}

function arrivals(rows: Rows): Section {
  return {
    title: 'Requests that do not wait for each other',
    words:
      'Requests arrive at a given rate, as a Poisson process, whether or not earlier ones are ' +
      'answered. Times count from the intended arrival, so that a wait in a queue is part of them.',
    charts: ofGroups(rows, (name, group) => [
      ...latencyCharts(
        `${name}, first token`,
        group,
        'time to first token',
        (row) => row.firstToken,
      ),
      ...latencyCharts(
        `${name}, answer`,
        group,
        'time to the end of the answer',
        (row) => row.answer,
      ),
    ]),
    tables: tablesOf(rows, 'rate', 'firstToken', 'perToken', 'answer', 'memory'),
  };
}

/** Contestants measured with prompts of their own and with shared ones, at one load. */
function pairsOf(rows: Rows, shared: Rows): (readonly [ServeRow, ServeRow])[] {
  return shared.flatMap((row) => {
    const isSame = ({ who, x, context }: ServeRow) =>
      who === row.who && x === row.x && context === row.context;
    const own = rows.find(isSame);
    return own ? [[own, row] as const] : [];
  });
}

function sharedPrompt(rows: Rows, shared: Rows): Section {
  return {
    title: 'A shared system prompt',
    words:
      'The median time to the first token when the prompts begin with the same, all but eight tokens, ' +
      'and one like them was answered before, beside prompts that have nothing in common. ' +
      'Contestants that do not know a prompt again are left out: a shared one is one like any other to them. ' +
      'Bars are logarithmic, with how many times sooner the token comes.',
    charts: ofGroups(shared, (name, group) =>
      endsOf(pointsOf(group)).map((point) =>
        sharedChart(`${name}, ${showLoad(point[0])}: first token`, pairsOf(rows, point)),
      ),
    ),
    tables: tablesOf(shared, 'firstToken', 'rate', 'answer', 'memory'),
  };
}

function memory(rows: Rows): Section {
  return {
    title: 'Memory',
    words:
      'The most that the process of each contestant held at once, weights included, with the most users.',
    charts: ofGroups(rows, (name, group) => {
      const point = pointsOf(group).at(-1) ?? [];
      return [memoryChart(`${name}, ${showLoad(point[0])}: peak memory`, point)];
    }),
    tables: tablesOf(rows, 'memory', 'eventLoop'),
  };
}

function heldTo(figures: readonly Figure[]): Section {
  const holding = figures.filter(({ holds }) => holds).length;
  return {
    title: 'What the server is held to',
    words:
      'Ratios of contestants that took turns in one run: the median of the rounds, and the least and ' +
      `the greatest of a round. ${holding} of ${figures.length} are what is asked, or more.`,
    charts: [],
    tables: [['figures', tableOfFigures(figures)]],
  };
}

/**
 * The figures where there are some, else for each context the tokens per second of the most users,
 * by those of the fastest contestant that is not ours.
 */
function headlinesOf({ figures = [] }: ServeResult, closed: Rows): Headline[] {
  if (figures.length > 0) {
    return figures.map(({ what, measured, asked }) => ({
      figure: showFactor(measured),
      meaning: `${what} (asked: ${showFactor(asked)})`,
    }));
  }
  const rateOf = (row: ServeRow) => row.tokensPerSecond.median;
  return groupsOf(closed).flatMap(([, group]): Headline[] => {
    const point = pointsOf(group).at(-1) ?? [];
    const own = point.find(({ contestant }) => contestant === 'engine');
    const [best] = point.filter((row) => !isOurs(row)).sort((a, b) => rateOf(b) - rateOf(a));
    if (!own) return [];
    const where = `${showLoad(own)} at ${own.context}`;
    if (!best) return [{ figure: digits(rateOf(own)), meaning: `tokens/s, ${where}` }];
    return [
      {
        figure: showFactor(rateOf(own) / rateOf(best)),
        meaning: `tokens/s, to the fastest other (${best.who}), ${where}`,
      },
    ];
  });
}

export function servePage(result: ServeResult): Page {
  const { machine, rows, seconds, command } = result;
  const date = result.date.slice(0, 10);
  const closed = rows.filter(({ load, shared }) => load === 'closed' && !shared);
  const shared = rows.filter(({ load, shared }) => load === 'closed' && shared);
  const open = rows.filter(({ load }) => load === 'open');
  const lengths = distinct(rows.map(({ newTokens }) => newTokens)).join(' or ');
  const again = ['npm run bench:serve', command].filter(Boolean).join(' -- ');
  return {
    title: `flash-attention-serve: benchmark of ${date}`,
    heading: `flash-attention-serve on ${machine.cpu.replace(/ \(.*/, '')}`,
    words:
      `An LLM server in Node.js, measured on ${date} beside other ways to run the same model in Node. ` +
      `Answers are ${lengths} tokens long.`,
    facts: machineFacts(machine),
    headlines: headlinesOf(result, closed),
    sections: [
      ...(result.figures ? [heldTo(result.figures)] : []),
      ...(closed.length > 0 ? [throughput(closed), firstToken(closed), perToken(closed)] : []),
      ...(open.length > 0 ? [arrivals(open)] : []),
      ...(shared.length > 0 ? [sharedPrompt(closed, shared)] : []),
      ...(closed.length > 0 ? [memory(closed)] : []),
    ],
    footer: `Measured in ${Math.ceil(seconds / 60)} min by ${again}.`,
  };
}
