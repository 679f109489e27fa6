// The page of a result: each suite's section, with the words and charts that the suite gives.
import type { Result } from '../result-file.js';
import type { Suite } from '../suite.js';
import { groupsOf } from './figures.js';
import { headlinesOf } from './headlines.js';
import type { Page } from './page.js';
import { tableOf } from './table.js';
import { machineFacts } from './terminal.js';

export function resultPage(result: Result, suites: readonly Suite[]): Page {
  const date = result.date.slice(0, 10);
  const again = ['npm run bench', result.command].filter(Boolean).join(' -- ');
  return {
    title: `flash-attention: benchmark of ${date}`,
    heading: `flash-attention on ${result.machine.cpu.replace(/ \(.*/, '')}`,
    words: `Exact attention in Node.js, measured on ${date} beside the limits of the machine and beside its peers.`,
    facts: [
      ...machineFacts(result.machine),
      ...(result.doubts ?? []).map((doubt): [string, string] => ['doubt', doubt]),
    ],
    headlines: headlinesOf(result.rows),
    sections: suites.flatMap(({ name, section }) => {
      const rows = result.rows.filter(({ suite }) => suite === name);
      if (rows.length === 0) return [];
      const { title, words, charts } = section;
      const tables = groupsOf(rows).map(([group, own]) => [group, tableOf(own, rows)] as const);
      return [{ title, words, charts: charts(rows, result.rows), tables }];
    }),
    footer: `Measured in ${Math.ceil(result.seconds / 60)} min by ${again}.`,
  };
}
