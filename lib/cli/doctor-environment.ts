// The environment variables that this package, its loader and its build read.
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { type Check, note, ok, problem, warning } from './doctor-check.js';

type Judge = (name: string, value: string) => Check;

/** The native side's limit (csrc/cpu/thread_pool.cpp). */
const maxThreads = 1024;
/** Likewise (csrc/cuda/runtime/pool_limit.cpp). */
const mostPoolBytes = 2 ** 50;

const variables: Readonly<Record<string, Judge>> = {
  FLASH_ATTENTION_DEVICE(name, value) {
    if (/^(cpu|cuda(:\d+)?|simt:sm\d+)$/.test(value)) return ok(name, value);
    return problem(name, `'${value}' is no device`, "Set it to 'cpu', 'cuda' or 'cuda:<number>'.");
  },
  FLASH_ATTENTION_NUM_THREADS(name, value) {
    const threads = Number(value);
    if (!/^\d+$/.test(value) || threads < 1 || threads > maxThreads) {
      const remedy = `Set it to an integer from 1 to ${maxThreads}, or unset it.`;
      return problem(name, `'${value}' is no number of threads`, remedy);
    }
    const cores = availableParallelism();
    if (threads <= cores) return ok(name, value);
    return warning(
      name,
      `${threads} threads share ${cores} cores`,
      'Unset it: more threads than cores are slower.',
    );
  },
  FLASH_ATTENTION_CUDA_POOL_BYTES(name, value) {
    if (/^\d+$/.test(value) && Number(value) <= mostPoolBytes) return ok(name, value);
    const remedy = `Set it to an integer from 0 to ${mostPoolBytes}, or unset it.`;
    return problem(name, `'${value}' is no number of bytes`, remedy);
  },
  FLASH_ATTENTION_CPU_ISA(name, value) {
    // Whether it exists and runs here is for the addon to say.
    return note(name, `pins the instruction set to '${value}'`, 'Unset it for the best one.');
  },
  FLASH_ATTENTION_ADDON(name, value) {
    const file = path.resolve(value);
    if (existsSync(file)) return note(name, `chooses the binary: ${file}`);
    return problem(name, `${file} does not exist`, 'Correct the variable or unset it.');
  },
  FLASH_ATTENTION_CUDA(name, value) {
    if (['on', 'off', 'nvcc', 'auto'].includes(value))
      return note(name, `'${value}', read by builds only`);
    return warning(
      name,
      `'${value}' is not known`,
      "Set it to 'on', 'off', 'nvcc' or 'auto', or unset it.",
    );
  },
  FLASH_ATTENTION_PTX_ONLY(name) {
    return note(name, 'read by builds only');
  },
  FLASH_ATTENTION_CONFORMANCE(name) {
    return note(name, 'read by the tests of this package only');
  },
  // Variables of node-gyp-build, the first by the name of the package.
  FLASH_ATTENTION_PREBUILD(name, value) {
    const found = `makes node-gyp-build look for the binary in ${value} only`;
    return warning(name, found, 'Unset it, unless that is what you want.');
  },
  PREBUILDS_ONLY(name) {
    return note(name, 'hides local builds: only prebuilt binaries are loaded');
  },
  LIBC(name, value) {
    return note(name, `makes node-gyp-build take this system for one with ${value}`);
  },
};

/** One check per variable that is set; unknown ones of our prefix may be misspelt. */
export function checkEnvironment(env: NodeJS.ProcessEnv): Check[] {
  const checks: Check[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (!value) continue;
    if (Object.hasOwn(variables, name)) {
      checks.push(variables[name](name, value));
    } else if (/^FLASH_?ATT/i.test(name)) {
      const known = Object.keys(variables).filter((each) => each.startsWith('FLASH_ATTENTION_'));
      checks.push(
        warning(name, 'is not a variable of this package', `Known: ${known.join(', ')}.`),
      );
    }
  }
  return checks.length > 0 ? checks : [ok('environment', 'no variable of this package is set')];
}
