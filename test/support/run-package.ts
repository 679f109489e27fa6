import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);

/** The CommonJS copy of the built package; `npm test` builds it first. */
export const builtCjs = fileURLToPath(new URL('dist/index.cjs', root));
const builtEsm = new URL('dist/index.js', root).href;

export interface PackageRun {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs module code in a process of its own; `fa` is the built package. */
export function runPackage(code: string, env: NodeJS.ProcessEnv = {}): PackageRun {
  const source = `import * as fa from ${JSON.stringify(builtEsm)};\n${code}`;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', source],
    { env: { ...process.env, NODE_OPTIONS: '', ...env }, encoding: 'utf8', timeout: 110_000 },
  );
  return { status, stdout, stderr };
}
