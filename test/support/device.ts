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

/** The name of a test that is left out, which says why. */
const leftOut = (name: string, why: string) => `${name} (left out: ${why})`;

/** `test` where a condition holds, and elsewhere one that is skipped and says why. */
export function testIf(condition: boolean, why: string): Pick<jest.It, 'each'> & jest.It {
  if (condition) return test;
  const skip = (name: string, run: jest.ProvidesCallback) => test.skip(leftOut(name, why), run);
  const each = (table: readonly never[]) => (name: string, run: (...args: never[]) => unknown) =>
    test.skip.each(table)(leftOut(name, why), run);
  return Object.assign(skip, { each }) as unknown as jest.It;
}

/** Tests of what one kind of device does. */
export const testOnCpu = testIf(onCpu, 'it is about the CPU');

/** The widest head dim of the device. */
export const widestHeadDim = onCpu ? 576 : 256;
