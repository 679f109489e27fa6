// Copies what the trace of a program has, as Next.js does for `output: 'standalone'`.
import { cpSync } from 'node:fs';
import path from 'node:path';
import { nodeFileTrace } from '@vercel/nft';

const [entry, outfile] = process.argv.slice(2);
const base = path.dirname(entry);
const { fileList } = await nodeFileTrace([entry], { base });
for (const file of fileList) {
  const target = file === path.basename(entry) ? outfile : path.join(path.dirname(outfile), file);
  cpSync(path.join(base, file), target, { recursive: true });
}
