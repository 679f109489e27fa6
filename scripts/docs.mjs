// `npm run docs`: installs what is missing, then builds the site of the documents into site/dist:
// pages of docs/, the API from the docstrings, the visualiser and the reports of the benchmarks.
// Every link of it is followed. --base /name/ builds it for a folder of a server,
// --serve serves it in the end.
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ensureInstalled, ensureTypeScriptBuilt, root, run } from './ensure-built.mjs';

const site = path.join(root, 'site');
const generated = path.join(site, 'generated');
const output = path.join(site, 'dist');

const inSite = (name, ...args) =>
  run(process.execPath, [path.join(site, 'node_modules', name), ...args], { cwd: site, env });

const { values } = parseArgs({
  options: { base: { type: 'string', default: '/' }, serve: { type: 'boolean' } },
});
const env = { ...process.env, SITE_BASE: values.base };

ensureTypeScriptBuilt();
ensureInstalled('site');
rmSync(generated, { recursive: true, force: true });
inSite('typedoc/bin/typedoc');
const { copyDocuments } = await import('../site/pages.mjs');
copyDocuments(generated);
const { listOf, readReports } = await import('../site/reports.mjs');
const reports = await readReports(generated);
writeFileSync(path.join(generated, 'reports.md'), listOf(reports));
inSite('vitepress/bin/vitepress.js', 'build', '.');
cpSync(path.join(root, 'dist/viz.html'), path.join(output, 'viz/index.html'));
for (const { name, write } of reports) await write(path.join(output, 'bench', name, 'index.html'));
const { brokenLinks } = await import('../site/check-links.mjs');
const broken = await brokenLinks(output, values.base);
if (broken.length > 0) {
  console.error(`docs: links that lead nowhere:\n  ${broken.join('\n  ')}`);
  process.exit(1);
}
console.log('docs: every link of site/dist leads somewhere');
if (values.serve) inSite('vitepress/bin/vitepress.js', 'preview', '.');
