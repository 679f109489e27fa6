// Links between the documents, and what sources say about them, lead somewhere.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  encoding: 'utf8',
})
  .trimEnd()
  .split('\n')
  .filter((file) => existsSync(file));
const pages = tracked.filter((file) => file.endsWith('.md'));
const sources = tracked.filter((file) => /\.(cpp|cc|cu|h|ts|mjs|cjs|cmake)$/.test(file));

const withoutCode = (text: string) => text.replace(/^```[\s\S]*?^```/gm, '');

/** The anchor that renderers make of a heading. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-');

function anchors(page: string): Set<string> {
  const headings = withoutCode(readFileSync(page, 'utf8')).matchAll(/^#+ (.*)$/gm);
  return new Set([...headings].map(([, heading]) => anchorOf(heading)));
}

/** Whether a relative link of a page leads to a file and, with an anchor, to a heading of it. */
function leadsSomewhere(page: string, link: string): boolean {
  const [file, anchor] = link.split('#');
  const target = file === '' ? page : path.join(path.dirname(page), file);
  if (!existsSync(target)) return false;
  return anchor === undefined || anchors(target).has(anchor);
}

test('there are pages and sources', () => {
  expect(pages.length).toBeGreaterThan(8);
  expect(sources.length).toBeGreaterThan(200);
});

test.each(pages)('links of %s', (page) => {
  const links = [...withoutCode(readFileSync(page, 'utf8')).matchAll(/\]\(([^)\s]+)\)/g)];
  const relative = links.map(([, link]) => link).filter((link) => !/^[a-z]+:/.test(link));
  expect(relative.filter((link) => !leadsSomewhere(page, link))).toEqual([]);
});

test('sources name documents that exist', () => {
  const missing = sources.flatMap((file) => {
    const names = readFileSync(file, 'utf8').match(/\bdocs\/[\w/-]+\.md\b/g) ?? [];
    return names.filter((name) => !existsSync(name)).map((name) => `${file}: ${name}`);
  });
  expect(missing).toEqual([]);
});

test('the glossary names sources that exist', () => {
  const places = [...readFileSync('docs/glossary.md', 'utf8').matchAll(/`([\w/-]+\.(?:h|cpp))`/g)];
  expect(places.length).toBeGreaterThan(10);
  const missing = places.map(([, file]) => file).filter((file) => !existsSync(`csrc/${file}`));
  expect(missing).toEqual([]);
});
