import { execFile } from 'node:child_process';
import path from 'node:path';
import { packageRoot } from './package-root.js';
import type { ProbeLine, ProbeStage } from './probe.js';
import { withProgress } from './progress.js';

const timeoutMs = 60_000;

const deeds: Readonly<Record<ProbeStage['stage'], string>> = {
  load: 'loading the addon',
  devices: 'listing the devices',
  device: 'using the device',
  attention: 'running attention',
};
const order = Object.keys(deeds) as ProbeStage['stage'][];

export interface ProbeResult {
  /** The stages that succeeded. */
  readonly stages: readonly ProbeStage[];
  /** What ended the probe early, in words, and in which stage. */
  readonly failure?: string;
  readonly failedStage?: ProbeStage['stage'];
}

/**
 * Runs `flash-attention probe` in a child process, which may crash or hang without harm to this
 * one.
 */
export async function runProbe(
  device?: string,
  cli = path.join(packageRoot, 'dist', 'cli.js'),
): Promise<ProbeResult> {
  const args = [cli, 'probe', ...(device === undefined ? [] : [device])];
  return withProgress('probing', undefined, () => {
    return new Promise((resolve) => {
      // SIGKILL: a process that hangs in native code hears nothing else.
      const options = { timeout: timeoutMs, killSignal: 'SIGKILL' } as const;
      execFile(process.execPath, args, options, (error, stdout, stderr) => {
        resolve(readProbe(stdout, error && describeEnd(error, stderr)));
      });
    });
  });
}

function describeEnd(error: Error & { killed?: boolean; signal?: string | null }, stderr: string) {
  if (error.killed) return `gave no answer within ${timeoutMs / 1000} seconds`;
  if (error.signal) return `ended the process with ${error.signal}`;
  return `ended the process: ${stderr.trim().split('\n').at(-1) || error.message}`;
}

/** @param end how the process ended, if not well. */
export function readProbe(stdout: string, end?: string | null): ProbeResult {
  const lines = stdout.split('\n').filter(Boolean);
  const parsed = lines.map((line) => JSON.parse(line) as ProbeLine);
  const stages = parsed.filter((line): line is ProbeStage => !('error' in line));
  const failed = parsed.find((line) => 'error' in line);
  if (failed) return { stages, failure: failed.error, failedStage: failed.stage };
  if (!end) return { stages };
  const last = stages.at(-1);
  const failedStage = !last
    ? 'load'
    : last.stage === 'attention'
      ? last.stage
      : order[order.indexOf(last.stage) + 1];
  return { stages, failure: `${deeds[failedStage]} ${end}`, failedStage };
}
