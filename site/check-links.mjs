// Follows every link of the built site, to pages, anchors, pictures and scripts. Links to other
// sites are left alone: no network is needed, and none of theirs can fail a build of ours.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { LinkChecker, LinkState } from 'linkinator';

/** A folder in which the site lies as on its server, below `base`. */
function serverRoot(site, base) {
  const folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-site-'));
  const at = path.join(folder, base);
  mkdirSync(path.dirname(at), { recursive: true });
  symlinkSync(site, at.replace(/\/$/, ''), 'junction');
  return folder;
}

/** The broken links of the built site in `site`. */
export async function brokenLinks(site, base = '/') {
  const folder = base === '/' ? site : serverRoot(site, base);
  try {
    const { links } = await new LinkChecker().check({
      path: base,
      serverRoot: folder,
      recurse: true,
      checkFragments: true,
      concurrency: 20,
      retryErrors: true,
      linksToSkip: async (link) => !/^http:\/\/localhost(:|\/)/.test(link),
    });
    return links
      .filter(({ state }) => state === LinkState.BROKEN)
      .map(({ url, parent, status }) => `${parent}: ${url} (${status})`);
  } finally {
    if (folder !== site) rmSync(folder, { recursive: true });
  }
}
