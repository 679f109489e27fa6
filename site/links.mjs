// Links as they are written for GitHub and npm, relative to their file, become those of the site:
// a document is its page, anything else of the repository is that file on GitHub.
import path from 'node:path';
import { exists, fileOf, pageOf } from './pages.mjs';

const repository = 'https://github.com/flash-attention-js/flash-attention';
const published = 'https://flash-attention-js.github.io/flash-attention';
const pictures = 'https://raw.githubusercontent.com/flash-attention-js/flash-attention/main/';

/** What is copied into the site beside its pages: no links of the page's router. */
const isNoPage = /^\/(viz|bench)\//;

/** The anchor that GitHub makes of a heading. */
export const anchorOf = (heading) =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}_\- ]/gu, '')
    .replaceAll(' ', '-');

/** A file of the repository and what is behind #, as the site has it. */
function linkTo(file, anchor) {
  // README files are what GitHub shows of a folder.
  const page = pageOf(file) ?? pageOf(path.posix.join(file, 'README.md'));
  if (page !== undefined) return `/${page}${anchor}`;
  return `${repository}/blob/main/${file}${anchor}`;
}

/** A link of the document `file` as the site has it. */
function resolveLink(file, link) {
  if (link.startsWith(published)) return link.slice(published.length) || '/';
  const [, target, anchor] = link.match(/^([^#]*)(#.*)?$/);
  const ours = target.match(new RegExp(`^${repository}/(?:blob|tree)/main/(.*)$`));
  if (ours) return linkTo(ours[1].replace(/\/$/, ''), anchor ?? '');
  if (target === '' || /^(\/|[a-z]+:)/.test(target)) return link;
  const to = path.posix.join(path.posix.dirname(file), target).replace(/\/$/, '');
  if (!exists(to)) throw new Error(`${file}: ${link} leads nowhere`);
  return linkTo(to, anchor ?? '');
}

/** A picture of the document `file`, which lies in docs/, relative to its page. */
function resolvePicture(file, source) {
  const picture = source.startsWith(pictures)
    ? source.slice(pictures.length) // the README's, which npm has to find too
    : path.posix.join(path.posix.dirname(file), source);
  if (!exists(picture)) throw new Error(`${file}: ${source} is not in the repository`);
  const folder = path.posix.dirname(pageOf(file));
  return `./${path.posix.relative(folder, picture.replace(/^docs\//, ''))}`;
}

/** The plugin of markdown-it; `base` is the folder of the server that the site lies in. */
export function repositoryLinks(md, base) {
  md.core.ruler.push('repository-links', ({ tokens, env }) => {
    const file = fileOf(env.relativePath); // none: TypeDoc's links are those of the site
    for (const token of tokens.flatMap(({ children }) => children ?? [])) {
      if (token.type === 'link_open') {
        const link = token.attrGet('href');
        if (file) token.attrSet('href', resolveLink(file, link));
        const target = token.attrGet('href');
        if (isNoPage.test(target)) {
          // VitePress leaves a link with a target as it is, without the base.
          token.attrSet('href', base + target.slice(1));
          token.attrSet('target', '_self');
        }
      } else if (token.type === 'image' && file) {
        token.attrSet('src', resolvePicture(file, token.attrGet('src')));
      }
    }
  });
}
