import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { checkOutputPaths } from './check-paths.js';
import { CliError, messageOf } from './cli-error.js';
import { withFile } from './files.js';
import { packageRoot } from './package-root.js';
import { writeFileOf } from './write-file.js';

/** Where the page has room for a plan. */
const placeOfPlan = '<!-- plan -->';

/** What the command line of `viz` says, after parsing. */
export interface VizFlags {
  readonly out?: string;
  /** False with `--no-open`. */
  readonly open: boolean;
}

/**
 * Writes the visualiser as one HTML file, with the plan in it if one is given, and opens it in the
 * browser. Resolves to the exit code.
 */
export async function viz(plan: string | undefined, { out, open }: VizFlags): Promise<number> {
  const inputs = plan === undefined ? [] : [plan];
  if (out !== undefined) checkOutputPaths([{ option: '--out', path: out }], inputs);
  const page = await pageWith(plan);
  const file = out ?? path.join(mkdtempSync(path.join(tmpdir(), 'flash-attention-')), 'viz.html');
  await writeFileOf(file, [Buffer.from(page)]);
  console.log(file);
  if (open) openInBrowser(file);
  return 0;
}

async function pageWith(plan: string | undefined): Promise<string> {
  const page = readFileSync(path.join(packageRoot, 'dist', 'viz.html'), 'utf8');
  if (plan === undefined) return page;
  const text = await withFile(plan, async (file) => {
    return Buffer.from(await file.read(0, file.size)).toString('utf8');
  });
  try {
    JSON.parse(text);
  } catch (error) {
    throw new CliError(`${plan}: is no JSON: ${messageOf(error)}`);
  }
  // "<" would end the element early; within strings of JSON it may be written like this.
  const data = text.replaceAll('<', '\\u003c');
  const element = `<script type="application/json" id="plan">${data}</script>`;
  return page.replace(placeOfPlan, () => element);
}

/** The command that opens a file as a double click would. */
function opener(): [command: string, ...args: string[]] {
  if (process.platform === 'darwin') return ['open'];
  if (process.platform === 'win32') return ['rundll32', 'url.dll,FileProtocolHandler'];
  return ['xdg-open'];
}

function openInBrowser(file: string): void {
  const [command, ...args] = opener();
  const url = pathToFileURL(file).href;
  const child = spawn(command, [...args, url], { stdio: 'ignore', detached: true });
  child.on('error', () => console.error(`Open ${url} in a browser: there is no ${command} here.`));
  child.unref();
}
