// A reporter of jest, for `npm run test:install`: when all tests have passed it writes what they
// recorded into docs/compatibility.md.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../../scripts/ensure-built.mjs';

const intro = `# Compatibility

Written by \`npm run test:install\`, which packs the package, installs the tarball in empty folders on a machine without
build tools, and runs attention there. Every line was run on linux-x64 with glibc. For the other platforms see the table
of the [README](../README.md#where-it-runs).
`;

/** What no test can show here, and why. */
const notRun = {
  runtime: [
    ['Electron', '', 'not run: npm has a downloader of its binary, and not the binary'],
    ['Bun and Deno on musl, Windows, macOS', '', 'not run'],
  ],
  bundler: [
    [
      'Next.js',
      '',
      'not run as a whole; its `standalone` output copies what @vercel/nft traces, with ' +
        "`serverExternalPackages: ['flash-attention']`",
    ],
  ],
};

const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

function page(rows) {
  const of = (name) => rows.filter((row) => row.table === name);
  const outcomes = (name) => [
    ...of(name).map((row) => [row.name, row.version, row.outcome]),
    ...(notRun[name] ?? []),
  ];
  const sections = [
    ['Package managers', table(['', 'version', 'outcome'], outcomes('manager'))],
    ['Runtimes', table(['', 'version', 'outcome'], outcomes('runtime'))],
    ['Bundlers and tracers', table(['', 'version', 'outcome'], outcomes('bundler'))],
    [
      'Figures',
      table(
        ['', ''],
        of('figure').map(({ name, value }) => [name, value]),
      ),
    ],
  ];
  return [intro, ...sections.map(([title, text]) => `## ${title}\n\n${text}\n`)].join('\n');
}

export default class Page {
  onRunComplete(_, { numFailedTests, numRuntimeErrorTestSuites, numPendingTests }) {
    if (numFailedTests + numRuntimeErrorTestSuites + numPendingTests > 0) {
      console.log('docs/compatibility.md stays as it is: not every test has run and passed');
      return;
    }
    const file = process.env.FLASH_ATTENTION_INSTALL_RESULTS;
    const rows = readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    writeFileSync(path.join(root, 'docs/compatibility.md'), page(rows));
  }
}
