import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { checkOutputPaths } from './check-paths.js';
import { CliError, messageOf } from './cli-error.js';
import { standardInput, withFile } from './files.js';
import { packageRoot } from './package-root.js';
import { writeFileOf } from './write-file.js';

/** Where the page has room for a plan. */
const placeOfPlan = '<!-- plan -->';

/** What the command line of `viz` says, after parsing. */
export interface VizFlags {
  readonly out?: string;
  /** A file that `--trace` wrote. */
  readonly trace?: string;
  /** False with `--no-open`. */
  readonly open: boolean;
}

/**
 * Writes the visualiser as one HTML file, with the plan and the trace in it if they are given, and
 * opens it in the browser. Resolves to the exit code.
 */
export async function viz(
  plan: string | undefined,
  { out, trace, open }: VizFlags,
): Promise<number> {
  const inputs = [plan, trace].filter((input) => input !== undefined);
  if (inputs.length === 2 && inputs.every((input) => input === standardInput)) {
    throw new CliError('--trace -: standard input is the plan already');
  }
  if (out !== undefined) checkOutputPaths([{ option: '--out', path: out }], inputs);
  const page = await pageWith({ plan, trace });
  const file = out ?? path.join(mkdtempSync(path.join(tmpdir(), 'flash-attention-')), 'viz.html');
  await writeFileOf(file, [Buffer.from(page)]);
  console.log(file);
  if (open) openInBrowser(file);
  return 0;
}

async function pageWith(files: Readonly<Record<'plan' | 'trace', string | undefined>>) {
  const page = readFileSync(path.join(packageRoot, 'dist', 'viz.html'), 'utf8');
  const elements: string[] = [];
  for (const [id, name] of Object.entries(files)) {
    if (name !== undefined) elements.push(await elementOf(id, name));
  }
  return page.replace(placeOfPlan, () => elements.join('\n'));
}

/** The contents of a JSON file, as the page finds them. */
async function elementOf(id: string, name: string): Promise<string> {
  const text = await withFile(name, async (file) => {
    return Buffer.from(await file.read(0, file.size)).toString('utf8');
  });
  try {
    JSON.parse(text);
  } catch (error) {
    throw new CliError(`${name}: is no JSON: ${messageOf(error)}`);
  }
  // "<" would end the element early; within strings of JSON it may be written like this.
  return `<script type="application/json" id="${id}">${text.replaceAll('<', '\\u003c')}</script>`;
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
