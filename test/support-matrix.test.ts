// docs/support.md says what the code decides.
import { readFileSync } from 'node:fs';
import * as fa from '../lib/index.js';
// @ts-expect-error: plain JavaScript
import { sameAs, supportTable, titles } from '../scripts/support-matrix.mjs';
import { device, testIf } from './support/device.js';

const others: Record<string, string> = sameAs;
const title = (titles as Record<string, string>)[others[device] ?? device];

testIf(title !== undefined, 'docs/support.md has tables of the CPU and of SIMT devices')(
  'docs/support.md has the table of this device',
  () => {
    const docs = readFileSync(new URL('../docs/support.md', import.meta.url), 'utf8');
    const section = docs.split(`## ${title}\n\n`)[1].split('\n\n')[0].trim();
    expect(supportTable(fa, device).join('\n')).toBe(section);
  },
);
