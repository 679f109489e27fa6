import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);

/** The built package (`npm test` builds it first), as an import specifier and as a path. */
export const builtEsm = new URL('dist/index.js', root).href;
export const builtCjs = fileURLToPath(new URL('dist/index.cjs', root));

export interface ChildResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs module code in a process of its own; `fa` is the built package. */
export function runChild(code: string, env: NodeJS.ProcessEnv = {}): ChildResult {
  const source = `import * as fa from ${JSON.stringify(builtEsm)};\n${code}`;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--expose-gc', '--input-type=module', '-e', source],
    { env: { ...process.env, NODE_OPTIONS: '', ...env }, encoding: 'utf8', timeout: 60_000 },
  );
  return { status, stdout, stderr };
}
