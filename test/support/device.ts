/**
 * The device that the tests compute on: the default one, which FLASH_ATTENTION_DEVICE chooses
 * (scripts/test-device.mjs). The SIMT device runs CUDA kernels thread by thread, a thousand times
 * slower than a GPU, and gets smaller problems.
 */
import { type DeviceName, defaultDevice } from '../../lib/index.js';

export const device: DeviceName = defaultDevice();
export const onCpu = device === 'cpu';
export const onSimt = device.startsWith('simt:');
/** Its float32 runs the kernels of sm_80, which `simt:sm80` tests. */
export const onSimtHopper = device.endsWith(':sm90');

/** `full`, and on the SIMT device `reduced`. */
export function sized<T>(full: T, reduced: T): T {
  return onSimt ? reduced : full;
}

/** Tests of what one kind of device does. */
export const testOnCpu = onCpu ? test : test.skip;

/** The widest head dim of the device. */
export const widestHeadDim = onCpu ? 576 : 256;
