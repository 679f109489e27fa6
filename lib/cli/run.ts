import {
  type AttentionResult,
  type DeviceInfo,
  type DeviceName,
  defaultDevice,
  devices,
  explain,
  flashAttention,
  memory,
  synchronize,
  type Tensor,
} from '../index.js';
import { checkResult } from './check-result.js';
import { loadInputs } from './inputs.js';
import { toJson } from './json.js';
import { peakMemory } from './memory.js';
import { planOutputs, writeOutputs } from './outputs.js';
import { withProgress } from './progress.js';
import { attentionOptions, type RunOptions } from './run-options.js';
import { type RunReport, showRun } from './run-report.js';
import { checkTrace, writeTrace } from './trace.js';

/** What a call gave. */
type RunResult = { out: Tensor; lse?: Tensor };

/**
 * Reads q, k, v, runs attention, reports. Resolves to the exit code: 1 when a check found too large
 * an error.
 */
export async function run(paths: readonly string[], options: RunOptions): Promise<number> {
  const outputs = planOutputs(options.out, options.lse, paths);
  const { qName, kName, vName, dtype } = options;
  const device = (options.device ?? defaultDevice()) as DeviceName;
  checkTrace(options.trace, device, [...paths, ...outputs.files.keys()]);
  const names = [qName, kName, vName] as const;
  const notes: string[] = [];
  const note = (text: string) => notes.push(text);
  const { q, k, v, batched } = await loadInputs(paths, { names, dtype, device, note });

  const attention = attentionOptions(options);
  const plan = explain(q, k, v, attention);
  const returnLse = outputs.wantsLse || options.check === true;
  const call = (): RunResult =>
    returnLse
      ? flashAttention(q, k, v, { ...attention, returnLse })
      : { out: flashAttention(q, k, v, attention) };
  const { result, seconds } = await timed(call, device, options.repeat);
  const medianSeconds = median(seconds);
  const tensorBytes = memory().bytes;
  const peakMemoryBytes = peakMemory();
  await writeOutputs(outputs, result, batched, note);
  if (options.trace !== undefined) await writeTrace(options.trace, call);

  const report: RunReport = {
    device: devices().find(({ name }) => name === q.device) as DeviceInfo,
    q: { dtype: q.dtype, shape: q.shape },
    k: { dtype: k.dtype, shape: k.shape },
    v: { dtype: v.dtype, shape: v.shape },
    options: attention,
    plan,
    seconds,
    medianSeconds,
    gflopPerSecond: plan.flops / medianSeconds / 1e9,
    tensorBytes,
    peakMemoryBytes,
    ...(options.check && {
      check: await checkResult([q, k, v], result as AttentionResult, attention),
    }),
    written: [...outputs.files.keys(), ...(options.trace === undefined ? [] : [options.trace])],
    notes,
  };
  console.log(options.json ? toJson(report) : showRun(report));
  return report.check && !report.check.ok ? 1 : 0;
}

/** Runs the call `repeat` times, one after the other; the last result is kept. */
async function timed(
  call: () => RunResult,
  device: DeviceName,
  repeat: number,
): Promise<{ result: RunResult; seconds: number[] }> {
  const seconds: number[] = [];
  let result: RunResult | undefined;
  await synchronize(device);
  await withProgress('attention', repeat > 1 ? repeat : undefined, async (progress) => {
    for (let n = 0; n < repeat; n++) {
      result?.out.dispose();
      result?.lse?.dispose();
      const started = performance.now();
      result = call();
      await synchronize(device);
      seconds.push((performance.now() - started) / 1000);
      progress.update(n + 1);
    }
  });
  return { result: result as RunResult, seconds };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
