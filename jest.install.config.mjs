import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import base from './jest.pack.config.mjs';

// Where tests record what they found; with it they run everything (test/install/record.ts).
const folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-results-'));
process.env.FLASH_ATTENTION_INSTALL_RESULTS ??= path.join(folder, 'results.jsonl');

/** `npm run test:install`: every package manager, runtime and bundler, and the page about them. */
export default {
  ...base,
  maxWorkers: 1, // one after the other: tables in order, and times that mean something
  reporters: ['default', '<rootDir>/test/install/page.mjs'],
};
