// Loads the addon and runs tiny attention calls, one line of JSON after each stage. `doctor` starts
// this in a process of its own: a broken binary may end the process instead of throwing.
import {
  type DeviceInfo,
  type DeviceName,
  defaultDevice,
  devices,
  flashAttention,
  randn,
} from '../index.js';
import { type NativeInfo, native } from '../native/addon.js';
import { checkResult, type Deviation } from './check-result.js';
import { messageOf } from './cli-error.js';
import { type FloatDType, floatDTypes } from '../tensor/host-tensor.js';

/** What one stage found. */
export type ProbeStage =
  | { stage: 'load'; info: NativeInfo }
  | { stage: 'devices'; devices: DeviceInfo[] }
  | { stage: 'device'; device: DeviceName }
  | { stage: 'attention'; dtype: FloatDType; ok: boolean; out: Deviation };

/** The stage that failed, and how. */
export interface ProbeFailure {
  readonly stage: ProbeStage['stage'];
  readonly error: string;
}

export type ProbeLine = ProbeStage | ProbeFailure;

/** @param wanted the device to use; default: the default one. */
export async function probe(wanted: string | undefined): Promise<void> {
  const print = (line: ProbeLine) => console.log(JSON.stringify(line));
  let stage: ProbeStage['stage'] = 'load';
  try {
    print({ stage, info: native().info() });
    stage = 'devices';
    print({ stage, devices: devices() });
    stage = 'device';
    const device = (wanted as DeviceName | undefined) ?? defaultDevice();
    randn([1], { seed: 0n, device }).dispose();
    print({ stage, device });
    stage = 'attention';
    for (const dtype of floatDTypes)
      print({ stage, dtype, ...(await tinyAttention(device, dtype)) });
  } catch (error) {
    print({ stage, error: messageOf(rootCause(error)) });
  }
}

/** Grouped heads, several tiles, a ragged edge and a causal mask, compared with float64. */
async function tinyAttention(
  device: DeviceName,
  dtype: FloatDType,
): Promise<{ ok: boolean; out: Deviation }> {
  const q = randn([1, 37, 4, 40], { seed: 1n, dtype, device });
  const k = randn([1, 150, 2, 40], { seed: 2n, dtype, device });
  const v = randn([1, 150, 2, 40], { seed: 3n, dtype, device });
  const options = { causal: true } as const;
  const result = flashAttention(q, k, v, { ...options, returnLse: true });
  const { ok, out } = await checkResult([q, k, v], result, options);
  return { ok, out };
}

/**
 * What went wrong first: the loader's own words, below the advice that binding.cjs wraps them in.
 */
function rootCause(error: unknown): unknown {
  const { cause, code } = (error ?? {}) as { cause?: unknown; code?: string };
  return code === 'ERR_NATIVE_BINARY' && cause !== undefined ? rootCause(cause) : error;
}
