// What `npm run test:install` writes into docs/compatibility.md; page.mjs makes the page of it.
import { appendFileSync } from 'node:fs';

/** Whether everything runs, not only the quick part that CI runs. */
export const everything = process.env.FLASH_ATTENTION_INSTALL_RESULTS !== undefined;

export type Row =
  | { table: 'manager' | 'runtime' | 'bundler'; name: string; version: string; outcome: string }
  | { table: 'figure'; name: string; value: string };

export function record(row: Row): void {
  const file = process.env.FLASH_ATTENTION_INSTALL_RESULTS;
  if (file) appendFileSync(file, `${JSON.stringify(row)}\n`);
}
