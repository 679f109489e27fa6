import { findAddon } from '../native/binding.js';
import { packageName, version } from '../native/package.js';
import { type Check, ok, problem, type Status } from './doctor-check.js';
import {
  checkAttention,
  checkKernelImage,
  checkOtherDevices,
  deviceProblem,
} from './doctor-devices.js';
import { checkEnvironment } from './doctor-environment.js';
import {
  checkBinary,
  checkPlatform,
  checkRuntime,
  checkVersion,
  loadProblem,
} from './doctor-install.js';
import { checkBuildTools, checkMemory, checkProcessor } from './doctor-machine.js';
import { checkPermission } from './doctor-permission.js';
import { paint } from './format.js';
import { toJson } from './json.js';
import type { ProbeStage } from './probe.js';
import { type ProbeResult, runProbe } from './run-probe.js';

/**
 * Looks at everything that can go wrong in an install and says what to do about it. Resolves to the
 * exit code: 1 when something is broken or the wanted device cannot be used.
 */
export async function doctor(options: { device?: string; json?: boolean }): Promise<number> {
  const checks = [checkRuntime(), ...checkPermission()];
  // What is denied cannot be looked at.
  if (!checks.some(({ name, status }) => name === 'permissions' && status === 'problem')) {
    checks.push(
      checkPlatform(),
      ...checkEnvironment(process.env),
      ...checkBinary(),
      ...judgeProbe(await runProbe(options.device), options.device),
      ...checkMemory(),
      checkBuildTools(),
    );
  }
  const healthy = !checks.some(({ status }) => status === 'problem');
  console.log(
    options.json ? toJson({ name: packageName, version, healthy, checks }) : showChecks(checks),
  );
  return healthy ? 0 : 1;
}

/** What loading the binary and running attention in a process of its own has shown. */
export function judgeProbe(
  { stages, failure, failedStage }: ProbeResult,
  wanted?: string,
): Check[] {
  const pick = <S extends ProbeStage['stage']>(stage: S) =>
    stages.filter((each): each is Extract<ProbeStage, { stage: S }> => each.stage === stage);
  const checks: Check[] = [];
  const [loaded] = pick('load');
  if (loaded) {
    const { info } = loaded;
    checks.push(ok('loading', `works, Node-API ${info.napiVersion}, compiled by ${info.compiler}`));
    checks.push(checkVersion(info.version, info.build), ...checkProcessor(info));
  }
  const [used] = pick('device');
  const [listed] = pick('devices');
  if (listed) checks.push(...checkOtherDevices(listed.devices, used?.device ?? ''));
  if (listed && used) checks.push(...checkKernelImage(listed.devices, used.device));
  const results = pick('attention');
  if (failure && failedStage === 'load') checks.push(loadProblem(failure, findAddon()));
  else if (failure && failedStage === 'device') checks.push(deviceProblem(failure, wanted));
  else if (failure) {
    const remedy = 'Please report this with the output of "flash-attention doctor --json".';
    checks.push(problem(failedStage ?? 'attention', failure, remedy));
  } else checks.push(checkAttention(used.device, results));
  return checks;
}

const labels: Readonly<Record<Status, string>> = {
  ok: 'ok     ',
  note: 'note   ',
  warning: 'warning',
  problem: 'PROBLEM',
};
const colors = { ok: 'green', note: 'cyan', warning: 'yellow', problem: 'red' } as const;

export function showChecks(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const indent = ' '.repeat(labels.ok.length + width + 4);
  const lines = checks.map(({ name, status, found, remedy }) => {
    const text = found.split('\n').join(`\n${indent}`);
    const advice = remedy ? `\n${indent}${paint('bold', '→')} ${remedy}` : '';
    return `${paint(colors[status], labels[status])}  ${name.padEnd(width)}  ${text}${advice}`;
  });
  return `${packageName} ${version}\n\n${lines.join('\n')}\n\n${verdict(checks)}`;
}

function verdict(checks: readonly Check[]): string {
  const count = (status: Status) => checks.filter((check) => check.status === status).length;
  const some = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;
  const problems = count('problem');
  const warnings = count('warning');
  const rest = warnings > 0 ? ` (${some(warnings, 'warning')})` : '';
  if (problems > 0) return paint('red', `${some(problems, 'problem')} found${rest}.`);
  return paint('green', `Everything works${rest}.`);
}
