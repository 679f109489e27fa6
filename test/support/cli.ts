import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findAddon } from '../../lib/native/binding.js';

export const root = fileURLToPath(new URL('../../', import.meta.url));

export interface CliResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** What the process reads on standard input; default nothing. */
  readonly input?: Uint8Array;
  /** The folder of the package; default this one, built. */
  readonly install?: string;
}

/** The environment of a child without settings of ours, or of a terminal. */
function environment(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const ours = /^(FLASH_ATTENTION|FORCE_COLOR$|NO_COLOR$|NODE_OPTIONS$|PREBUILDS_ONLY$|LIBC$)/;
  const inherited = Object.entries(process.env).filter(([name]) => !ours.test(name));
  return { ...Object.fromEntries(inherited), ...extra };
}

/** Runs a JavaScript file in a process of its own. */
export function runNode(
  args: readonly string[],
  { env, cwd, input }: CliOptions = {},
): Promise<CliResult> {
  return new Promise((resolve) => {
    const options = { env: environment(env), cwd, timeout: 110_000, maxBuffer: 1 << 26 };
    const child = execFile(process.execPath, args, options, (_, stdout, stderr) => {
      resolve({ status: child.exitCode ?? -1, stdout, stderr });
    });
    child.stdin?.on('error', () => undefined); // of one that ends without having read it
    child.stdin?.end(input);
  });
}

/** Runs the built command line. */
export function runCli(
  args: readonly string[],
  options: CliOptions = {},
  flags: readonly string[] = [],
): Promise<CliResult> {
  const cli = path.join(options.install ?? root, 'dist', 'cli.js');
  return runNode([...flags, cli, ...args], options);
}

/** A folder for the files of a test; `done` removes it. */
export function scratchFolder(): { folder: string; done: () => void } {
  const folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-cli-'));
  return { folder, done: () => rmSync(folder, { recursive: true, force: true }) };
}

/** The package as an install leaves it where there is no native binary. */
export function installWithoutBinary(folder: string): string {
  const command = ['dist/cli.js', 'dist/cli-main.js'];
  const loader = ['binding.cjs', 'embedded.cjs'];
  for (const file of ['package.json', ...loader, ...command, 'scripts/cmake-build.cjs']) {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    copyFileSync(path.join(root, file), path.join(folder, file));
  }
  symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  return folder;
}

/** A stand-in for the addon, for FLASH_ATTENTION_ADDON: `code` gets the true one as `real`. */
export function fakeAddon(folder: string, name: string, code: string): string {
  const file = path.join(folder, `${name}.cjs`);
  const loadReal = `const real = require(${JSON.stringify(findAddon()?.path)});`;
  writeFileSync(file, `${loadReal}\n${code}\n`);
  return file;
}
