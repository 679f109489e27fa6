// What the machine offers the CPU device: instructions, threads, memory; and tools, should a build
// be needed.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, totalmem } from 'node:os';
import path from 'node:path';
import type { NativeInfo } from '../native/addon.js';
import { packageRoot } from './package-root.js';
import { type Check, note, ok, warning } from './doctor-check.js';
import { showBytes } from './format.js';

/** Feature flags of the levels of the x86-64 psABI, as /proc/cpuinfo names them. */
const x86Levels: readonly { name: string; flags: readonly string[] }[] = [
  { name: 'x86-64-v4', flags: ['avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl'] },
  { name: 'x86-64-v3', flags: ['avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'abm', 'movbe'] },
  { name: 'x86-64-v2', flags: ['cx16', 'popcnt', 'sse4_1', 'sse4_2', 'ssse3'] },
];

/** The best level whose flags are all in the text of /proc/cpuinfo. */
export function x86Level(cpuinfo: string): string | undefined {
  const flags = new Set(/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1].trim().split(/\s+/));
  return x86Levels.find((level) => level.flags.every((flag) => flags.has(flag)))?.name;
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

export function checkProcessor(
  { isa, isaLevels, threads }: NativeInfo,
  cpuinfo = readOrEmpty('/proc/cpuinfo'),
): Check[] {
  if (!isa) return []; // the device check tells why
  const cores = availableParallelism();
  const checks = [ok('threads', `${threads}, on ${cores} cores`)];
  const offered = x86Level(cpuinfo);
  if (process.env.FLASH_ATTENTION_CPU_ISA) {
    checks.push(note('SIMD', `${isa}, pinned; possible: ${isaLevels.join(', ')}`));
  } else if (offered && !isaLevels.some((level) => level.startsWith(offered))) {
    const found = `${isa}, though the processor has ${offered}`;
    checks.push(
      warning('SIMD', found, 'Build with all instruction sets: npx flash-attention build'),
    );
  } else if (isa.startsWith('x86-64-v2')) {
    const found = `${isa}: this processor, or the virtual machine, has no AVX2`;
    const remedy =
      'Choose a CPU type with AVX2 for the virtual machine: it is several times faster.';
    checks.push(warning('SIMD', found, remedy));
  } else {
    checks.push(ok('SIMD', isa));
  }
  return checks;
}

/** Attention itself needs little; below this a container hardly holds Node.js and its tensors. */
const littleMemory = 512 * 1024 * 1024;

export function checkMemory(
  total = totalmem(),
  constrained = process.constrainedMemory(),
  limits = readOrEmpty('/proc/self/limits'),
): Check[] {
  const limited = constrained > 0 && constrained < total;
  const usable = limited ? constrained : total;
  const found = limited
    ? `${showBytes(usable)} allowed by the control group, of ${showBytes(total)}`
    : showBytes(total);
  const checks =
    usable < littleMemory
      ? [warning('memory', found, 'Give the container or machine more, should tensors not fit.')]
      : [ok('memory', found)];
  const addressSpace = /^Max address space\s+(\d+)/m.exec(limits)?.[1];
  if (addressSpace) {
    const text = `${showBytes(Number(addressSpace))} of address space (ulimit -v)`;
    const remedy = 'Lift it, should allocations fail: Node.js reserves far more than it uses.';
    checks.push(note('memory limit', text, remedy));
  }
  return checks;
}

/** Whether `flash-attention build` would find its tools; no fault where a binary is there. */
export function checkBuildTools(): Check {
  const script = path.join(packageRoot, 'scripts', 'cmake-build.cjs');
  try {
    const { missingTools } = createRequire(import.meta.url)(script) as {
      missingTools(): { tool: string }[];
    };
    const missing = missingTools().map(({ tool }) => tool);
    if (missing.length === 0) return ok('build tools', describeTools());
    return note('build tools', `${missing.join(', ')} not found; only a build would need it`);
  } catch {
    return note('build tools', `${script} is missing; only a build would need it`);
  }
}

function describeTools(): string {
  const { stdout } = spawnSync('cmake', ['--version'], { encoding: 'utf8' });
  const version = /\d[\d.]*/.exec(stdout ?? '')?.[0] ?? '';
  return `CMake ${version}, a C++ compiler and make are there, should a build be needed`;
}
