// Which file of the repository is which page of the site, and in which order they are listed.
import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** Pages that do not lie in docs/. */
const elsewhere = {
  'README.md': 'index.md',
  'serve/README.md': 'server.md',
  'CHANGELOG.md': 'changelog.md',
  'CONTRIBUTING.md': 'contributing.md',
  'SECURITY.md': 'security.md',
  'CODE_OF_CONDUCT.md': 'code-of-conduct.md',
};

/** Markdown files of docs/, relative to it. */
const documents = readdirSync(path.join(root, 'docs'), { recursive: true })
  .filter((name) => name.endsWith('.md'))
  .map((name) => name.replaceAll(path.sep, '/'))
  .sort();

/** Every file that is a page, by the page: `guides/cuda.md` is docs/guides/cuda.md. */
const files = new Map([
  ...documents.map((name) => [name, `docs/${name}`]),
  ...Object.entries(elsewhere).map(([file, page]) => [page, file]),
]);
const pages = new Map([...files].map(([page, file]) => [file, page]));

/** The page of a file of the repository; undefined for one that is none. */
export const pageOf = (file) => pages.get(file);

/** The file of a page; undefined for one that was generated. */
export const fileOf = (page) => files.get(page);

/** Puts the documents and their pictures where the pages are made from. */
export function copyDocuments(folder) {
  for (const [page, file] of files) cpSync(path.join(root, file), path.join(folder, page));
  cpSync(path.join(root, 'docs/images'), path.join(folder, 'images'), { recursive: true });
}

const guides = [
  'getting-started',
  'which-function',
  'decoding',
  'embedding-server',
  'training',
  'context-parallel',
  'eight-bits',
  'cuda',
  'reading-a-plan',
  'coming-from',
  'troubleshooting',
  'when-not-to-use-it',
].map((name) => `docs/guides/${name}.md`);

const inside = ['architecture', 'kernels', 'kernel-resources', 'cpu-instructions', 'testing'].map(
  (name) => `docs/${name}.md`,
);

/** The first heading of a file, without its markup. */
function titleOf(file) {
  const text = readFileSync(path.join(root, file), 'utf8');
  return text.match(/^# (.*)$/m)[1].replaceAll('`', '');
}

const item = (file) => ({ text: titleOf(file), link: `/${pageOf(file)}` });
const group = (text, files) => ({ text, items: files.map(item) });

/** The list of pages at the side. What is new in docs/ is listed without being named here. */
export function sidebar() {
  const named = new Set([...guides, ...inside]);
  const others = [...files.values()].filter((file) => /^docs\//.test(file) && !named.has(file));
  const isDeep = (file) => file.split('/').length > 2;
  return [
    {
      items: [
        { text: 'Overview', link: '/' },
        { text: 'API', link: '/api/' },
      ],
    },
    group('Guides', guides),
    group('Reference', [
      ...others.filter((file) => !isDeep(file)),
      'serve/README.md',
      'CHANGELOG.md',
    ]),
    group('Inside', [...inside, ...others.filter(isDeep), 'CONTRIBUTING.md']),
  ];
}

/** Whether the repository has this file or folder. */
export const exists = (file) => existsSync(path.join(root, file));
