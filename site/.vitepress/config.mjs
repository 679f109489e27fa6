import { readFileSync } from 'node:fs';
import path from 'node:path';
import { defineConfig } from 'vitepress';
import { anchorOf, repositoryLinks } from '../links.mjs';
import { root, sidebar } from '../pages.mjs';

const { description } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
const base = process.env.SITE_BASE || '/';
const apiSidebar = path.join(root, 'site/generated/api/typedoc-sidebar.json');

/** Groups of the API stay open: a heading that is a button may have no button in it. */
const openGroups = (items) =>
  items.map(({ collapsed, ...item }) => ({ ...item, items: item.items && openGroups(item.items) }));

/** The list that TypeDoc wrote; each entry point can be folded. */
const apiPages = () =>
  JSON.parse(readFileSync(apiSidebar, 'utf8')).map((entry) => ({
    ...entry,
    items: openGroups(entry.items),
  }));

/** Tiles of a causal problem. */
const icon =
  "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 3 3'><path fill='#3451b2' d='M0 0h1v1h1v1h1v1H0z'/></svg>";

const noPage = (text, link) => ({ text, link, target: '_self' });

export default defineConfig({
  title: 'flash-attention',
  description,
  lang: 'en',
  head: [['link', { rel: 'icon', href: `data:image/svg+xml,${encodeURIComponent(icon)}` }]],
  base,
  srcDir: 'generated',
  outDir: 'dist',
  cacheDir: 'node_modules/.cache/vitepress',
  // Put beside the pages once they are built; the link check has them.
  ignoreDeadLinks: [/^\/(viz|bench)\//],
  markdown: {
    theme: { light: 'github-light-high-contrast', dark: 'github-dark-high-contrast' },
    anchor: { slugify: anchorOf },
    config: (md) => md.use(repositoryLinks, base),
  },
  vite: { build: { chunkSizeWarningLimit: 1024 } },
  themeConfig: {
    nav: [
      { text: 'Guides', link: '/guides/getting-started' },
      { text: 'API', link: '/api/' },
      noPage('Visualiser', '/viz/'),
      { text: 'Benchmarks', link: '/reports' },
    ],
    sidebar: {
      '/api/': apiPages(),
      '/': sidebar(),
    },
    outline: [2, 3],
    search: { provider: 'local' },
    socialLinks: [
      { icon: 'github', link: 'https://github.com/flash-attention-js/flash-attention' },
    ],
  },
});
