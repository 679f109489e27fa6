import type { AttentionOptions, DeviceInfo, Plan } from '../index.js';
import type { CheckResult, Deviation } from './check-result.js';
import {
  paint,
  showBytes,
  showCount,
  showError,
  showFlops,
  showRate,
  showSeconds,
  showTable,
} from './format.js';

/** What `explain` has to tell: a call and its plan. */
export interface CallReport {
  readonly device: DeviceInfo;
  readonly q: TensorReport;
  readonly k: TensorReport;
  readonly v: TensorReport;
  readonly options: AttentionOptions;
  readonly plan: Plan;
}

/** Everything `run` has to tell. */
export interface RunReport extends CallReport {
  /** Of every repetition, in order. */
  readonly seconds: readonly number[];
  readonly medianSeconds: number;
  readonly gflopPerSecond: number;
  /** Bytes of q, k, v, out and lse. */
  readonly tensorBytes: number;
  /** Of the whole process, before the check. */
  readonly peakMemoryBytes: number;
  readonly check?: CheckResult;
  readonly written: readonly string[];
  /** What was converted, and what other programs make of what was written. */
  readonly notes: readonly string[];
}

export interface TensorReport {
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** The report as a table. */
export function showRun(report: RunReport): string {
  const { q, k, v, plan, medianSeconds, check, written, notes } = report;
  const rows: [string, string][] = [
    ['device', showDevice(report.device)],
    ['q', showTensor(q)],
    ['k', showTensor(k)],
    ['v', showTensor(v)],
    ['plan', showPlan(plan)],
    ['work', showWork(plan)],
    ['time', showTimes(report.seconds, medianSeconds)],
    ['speed', showRate(plan.flops, medianSeconds)],
    [
      'memory',
      `peak ${showBytes(report.peakMemoryBytes)}, of which ${showBytes(report.tensorBytes)} tensors`,
    ],
  ];
  if (check) rows.push(['check', showCheck(check)]);
  if (written.length > 0) rows.push(['wrote', written.join(', ')]);
  if (notes.length > 0) rows.push([notes.length > 1 ? 'notes' : 'note', notes.join('\n')]);
  return showTable(rows);
}

/** `cpu: AMD EPYC 7763, x86-64-v3, 8 threads` */
export function showDevice({ name, model, capability, threads }: DeviceInfo): string {
  const details = [model, capability, threads && `${threads} threads`].filter(Boolean);
  return `${paint('bold', name)}: ${details.join(', ')}`;
}

export function showTensor({ dtype, shape }: TensorReport): string {
  return `[${shape.join(', ')}] ${dtype}`;
}

/** Kernel, tiles and splits; the second line counts tiles. */
export function showPlan(plan: Plan): string {
  const { kernel, tileQ, tileK, numSplits, workItems } = plan;
  const splits = numSplits === 1 ? 'keys not split' : `keys in ${numSplits} splits`;
  const tiles = [
    `${showCount(plan.tilesFull)} full`,
    `${showCount(plan.tilesPartial)} partial`,
    `${showCount(plan.tilesSkipped)} skipped`,
  ];
  return [
    `${kernel}, ${tileQ} x ${tileK} tiles, ${splits}, ${showCount(workItems)} work items`,
    `tiles: ${tiles.join(', ')}`,
  ].join('\n');
}

/** FLOPs and bytes, and what standard attention would need. */
export function showWork(plan: Plan): string {
  const { standardBytes, standardMemory } = plan;
  return [
    `${showFlops(plan.flops)}, ${showBytes(plan.bytes)} moved, ${showBytes(plan.scratchBytes)} of scratch`,
    `standard attention: ${showBytes(standardBytes)} moved, ${showBytes(standardMemory)} of N x N matrices`,
  ].join('\n');
}

function showTimes(seconds: readonly number[], median: number): string {
  if (seconds.length === 1) return showSeconds(median);
  const best = showSeconds(seconds.reduce((a, b) => Math.min(a, b)));
  return `${showSeconds(median)}, the median of ${seconds.length} (best ${best})`;
}

function showCheck({ rows, seqlenQ, out, lse, ok }: CheckResult): string {
  const some = rows.length > 8 ? [...rows.slice(0, 4), '…', rows.at(-1)] : rows;
  const where =
    rows.length === seqlenQ
      ? `all ${showCount(seqlenQ)} rows`
      : `${rows.length} of ${showCount(seqlenQ)} rows (${some.join(', ')})`;
  return [
    `${ok ? paint('green', 'ok') : paint('red', 'TOO LARGE')}: ${where} of every head, against float64`,
    `out: ${showDeviation(out)}`,
    `lse: ${showDeviation(lse)}`,
  ].join('\n');
}

function showDeviation({ error, standardError, allowed }: Deviation): string {
  return `error ${showError(error)}, standard attention's ${showError(standardError)}, allowed ${showError(allowed)}`;
}
