import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { findAddon } from '../native/binding.js';
import { packageRoot } from './package-root.js';
import { runProbe } from './run-probe.js';

/**
 * Compiles the addon in the package's folder with scripts/cmake-build.cjs, which names what is
 * missing. Resolves to the exit code. All output goes to stderr but the name of the binary.
 */
export async function build({ debug }: { debug?: boolean }): Promise<number> {
  const script = path.join(packageRoot, 'scripts', 'cmake-build.cjs');
  const config = debug ? 'Debug' : 'Release';
  console.error(`Compiling in ${packageRoot}`);
  const { status, error } = spawnSync(process.execPath, [script, config], {
    stdio: ['ignore', 2, 2],
  });
  if (error) console.error(error.message);
  if (status !== 0) return status ?? 1;

  const addon = findAddon();
  const { failure } = await runProbe();
  if (!addon || failure) {
    console.error(failure ?? 'The build left no binary.');
    console.error('"flash-attention doctor" tells more.');
    return 1;
  }
  console.log(addon.path);
  if (addon.kind === 'FLASH_ATTENTION_ADDON') {
    console.error(
      'Note: FLASH_ATTENTION_ADDON makes this process load another binary than was built.',
    );
  }
  return 0;
}
