// What a table in docs/ was made from, as a hash: of sources, of everything of ours that they
// include, and of flags. Comments and white space do not count.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './ensure-built.mjs';

/** The text as a compiler sees it, near enough. */
const withoutComments = (text) =>
  text
    .replace(/("(?:\\.|[^"\\\n])*")|\/\/.*|\/\*[\s\S]*?\*\//g, (_, literal) => literal ?? ' ')
    .replace(/\s+/g, ' ')
    .trim();

/**
 * The sources and every file that they include in quotes, sorted. Names are looked up beside the
 * file and in `folders`; what is found nowhere belongs to others. All relative to the package.
 */
export function closureOf(sources, { folders = ['csrc'], leaveOut = () => false } = {}) {
  const found = new Set();
  const visit = (file) => {
    if (found.has(file)) return;
    found.add(file);
    const text = readFileSync(path.join(root, file), 'utf8');
    for (const [, name] of text.matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)) {
      const places = [path.dirname(file), ...folders].map((folder) => path.join(folder, name));
      const place = places.find((one) => existsSync(path.join(root, one)));
      if (place !== undefined && !leaveOut(place)) visit(place);
    }
  };
  for (const source of sources) visit(source);
  return [...found].sort();
}

/** Twelve hexadecimal digits of files and of further text. */
export function fingerprint(files, ...texts) {
  const hash = createHash('sha256');
  for (const file of files) {
    hash.update(`${file}\0${withoutComments(readFileSync(path.join(root, file), 'utf8'))}\0`);
  }
  for (const text of texts) hash.update(`${text}\0`);
  return hash.digest('hex').slice(0, 12);
}
