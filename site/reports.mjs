// The reports of the benchmarks: a page for each file of bench/results and serve/bench/results, by
// the code that `npm run bench` and `npm run bench:serve` run with `-- --from <file> --html`, and
// the list of them.
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { define } from '../scripts/package-constants.mjs';
import { root } from './pages.mjs';

const at = (...parts) => path.join(root, ...parts);

/** A report is drawn, and nothing is measured for it: neither addon is needed. */
const withoutAddons = {
  name: 'without-addons',
  setup({ onLoad, onResolve }) {
    onLoad({ filter: /bench[\\/]native\.ts$/ }, () => {
      return { contents: 'export const benchAddon = undefined;' };
    });
    const loader = { path: pathToFileURL(at('binding.cjs')).href, external: true };
    onResolve({ filter: /^#binding$/ }, () => loader);
  },
};

/** What of bench/ and serve/bench/ writes reports, with all suites, compiled into `folder`. */
async function writer(folder) {
  const outfile = path.join(folder, 'report-writer.mjs');
  const suites = readdirSync(at('bench/suites')).map((file) => path.basename(file, '.ts'));
  const contents = [
    "export { readResult } from './result-file.js';",
    "export { resultPage } from './report/result-page.js';",
    "export { writePage } from './report/page.js';",
    "export { readServeResult } from '../serve/bench/row.js';",
    "export { servePage } from '../serve/bench/report/page.js';",
    ...suites.map((name, i) => `import { suite as suite${i} } from './suites/${name}.js';`),
    `export const suites = [${suites.map((_, i) => `suite${i}`)}];`,
  ].join('\n');
  await build({
    stdin: { contents, resolveDir: at('bench'), loader: 'ts' },
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    plugins: [withoutAddons],
    define,
  });
  return import(pathToFileURL(outfile));
}

/** All results, the latest first, and how to write the page of one. */
export async function readReports(folder) {
  const { readResult, readServeResult, resultPage, servePage, suites, writePage } =
    await writer(folder);
  suites.sort((a, b) => a.rank - b.rank);
  const benchmarks = [
    {
      program: 'npm run bench',
      ...{ results: 'bench/results', to: '', read: readResult },
      pageOf: (result) => resultPage(result, suites),
    },
    {
      program: 'npm run bench:serve',
      ...{ results: 'serve/bench/results', to: 'serve/', read: readServeResult },
      pageOf: servePage,
    },
  ];
  return benchmarks
    .flatMap(({ program, results, to, read, pageOf }) =>
      resultsIn(results).map((name) => {
        const result = read(at(results, name));
        const write = (file) => writePage(file, pageOf(result), at('bench/report'));
        return { name: to + path.basename(name, '.json'), program, result, write };
      }),
    )
    .sort((a, b) => b.result.date.localeCompare(a.result.date));
}

/** Result files of a folder; none where nobody has kept one. */
const resultsIn = (folder) =>
  existsSync(at(folder)) ? readdirSync(at(folder)).filter((name) => name.endsWith('.json')) : [];

/** The list of the reports, as a page. */
export function listOf(reports) {
  const rows = reports.map(({ name, program, result: { date, machine, command, rows } }) => {
    const suites = [...new Set(rows.map(({ suite }) => suite))].join(', ');
    const again = [program, command].filter(Boolean).join(' -- ');
    const link = `[${suites}](/bench/${name}/)`;
    return `| ${date.slice(0, 10)} | ${link} | ${machine.cpu} | \`${again}\` |`;
  });
  return `# Benchmark reports

What \`npm run bench\` and \`npm run bench:serve\` have measured, the latest first. [Performance](performance.md) says what it means.

| date | report | processor | command |
|---|---|---|---|
${rows.join('\n')}
`;
}
