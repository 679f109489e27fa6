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
const workflows = tracked.filter((file) => file.startsWith('.github/workflows/'));
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

test('links to this repository on GitHub lead to files of it', () => {
  const here =
    /\((https:\/\/[\w.]+\/flash-attention-js\/flash-attention\/(?:\w+\/)?main)\/([^)#]+)/g;
  const links = pages.flatMap((page) =>
    [...withoutCode(readFileSync(page, 'utf8')).matchAll(here)].map(([, , file]) => file),
  );
  expect(links).not.toEqual([]);
  expect(links.filter((file) => !existsSync(file))).toEqual([]);
});

test('the README is short', () => {
  expect(readFileSync('README.md').length).toBeLessThan(6 * 1024);
});

test('links of the README lead to files of the package', () => {
  const { files } = JSON.parse(readFileSync('package.json', 'utf8'));
  const packed = [...files, ...pages.filter((page) => !page.includes('/'))];
  const links = [...readFileSync('README.md', 'utf8').matchAll(/\]\(([^)#\s]+)/g)];
  const relative = links.map(([, link]) => link).filter((link) => !/^[a-z]+:/.test(link));
  expect(relative.length).toBeGreaterThan(5);
  const isPacked = (link: string) => packed.some((each) => `${link}/`.startsWith(`${each}/`));
  expect(relative.filter((link) => !isPacked(link))).toEqual([]);
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

describe('commands in documents exist', () => {
  const json = JSON.parse(readFileSync('package.json', 'utf8'));
  const texts = [...pages.filter((page) => page !== 'CHANGELOG.md'), ...workflows].map((file) => ({
    file,
    text: readFileSync(file, 'utf8'),
  }));

  /** What of the names that a pattern finds is not known, with its file. */
  function unknown(pattern: RegExp, known: readonly string[]): string[] {
    const names = texts.flatMap(({ file, text }) =>
      [...text.matchAll(pattern)].map(([, name]) => ({ file, name })),
    );
    expect(names.length).toBeGreaterThan(5);
    return names
      .filter(({ name }) => !known.includes(name))
      .map((each) => Object.values(each).join(': '));
  }

  test('scripts of npm', () => {
    const pattern = /\bnpm run(?:\s+--silent)?\s+([a-z][\w:-]*)/g;
    expect(unknown(pattern, Object.keys(json.scripts))).toEqual([]);
  });

  test('commands of flash-attention', () => {
    const source = readFileSync('lib/cli/cli-main.ts', 'utf8');
    const commands = [...source.matchAll(/\.command\('(\w+)'/g)].map(([, name]) => name);
    expect(unknown(/\b(?:npx|exec)(?: --no)? flash-attention ([a-z]+)/g, commands)).toEqual([]);
  });

  test('dependencies, by their versions', () => {
    const install = readFileSync('docs/install.md', 'utf8');
    const dependencies: Record<string, string> = json.dependencies;
    const needed = Object.entries(dependencies).map(([name, version]) => `${name}@${version}`);
    expect(install).toContain(`npm pack flash-attention@${json.version} ${needed.join(' ')}\n`);
    const files = needed.map((each) => `./${each.replace('@', '-')}.tgz`).join(' ');
    expect(install).toContain(`./flash-attention-${json.version}.tgz ${files}\n`);
  });
});

test('every code of an error has a section', () => {
  const list = readFileSync('lib/native/errors.ts', 'utf8').match(/errorCodes = \[([^\]]*)\]/);
  const codes = [...(list?.[1].matchAll(/'(\w+)'/g) ?? [])].map(([, code]) => code);
  const guide = readFileSync('docs/guides/troubleshooting.md', 'utf8');
  const sections = [...guide.matchAll(/^## `(ERR_\w+)`$/gm)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(10);
  expect(sections).toEqual(codes);
});

test('errors that docs/install.md explains are those of the sources', () => {
  const install = readFileSync('docs/install.md', 'utf8');
  const sections = install
    .split(/^### /m)
    .filter((text) => /^What (this package says|is said of)/.test(text));
  const quoted = sections.flatMap((text) =>
    [...text.matchAll(/^\| `(.+?)` \|/gm)].map(([, quote]) => quote),
  );
  expect(quoted.length).toBeGreaterThan(15);
  const messages = sources
    .filter((file) => /^(lib|csrc|scripts|binding\.cjs)/.test(file))
    .map((file) => readFileSync(file, 'utf8'))
    .join('\n');
  const fragments = quoted.flatMap((quote) =>
    quote.split('…').filter((part) => part.trim() !== ''),
  );
  expect(fragments.filter((part) => !messages.includes(part))).toEqual([]);
});
