import { native } from './addon.js';
import type { DeviceInfo, DeviceName, MemoryUse } from './device-info.js';
import { call, FlashAttentionError, fail, wait } from './errors.js';
import { show } from './show.js';

export type { DeviceInfo, DeviceName, MemoryUse, PoolUse } from './device-info.js';

/**
 * All devices this build knows, the unusable ones with the reason.
 *
 * @throws {@link FlashAttentionError} `ERR_NATIVE_BINARY` when the native addon cannot be loaded.
 */
export function devices(): DeviceInfo[] {
  return call(() => native().devices());
}

const devicePattern = /^(cpu|cuda:\d+|simt:sm\d+)$/;

const kindOf = (name: string) => name.split(':')[0];

/** Names found usable; a device that is there stays there. */
const usable = new Set<string>();

/** The full name (`cuda:0`) of a usable device, or throws and says why it is not. */
export function resolveDevice(name: unknown, argument: string): DeviceName {
  const full = name === 'cuda' ? 'cuda:0' : name;
  if (usable.has(full as string)) return full as DeviceName;
  if (typeof full !== 'string') fail('ERR_TYPE', argument, 'a device name', show(full));
  if (!devicePattern.test(full)) {
    fail('ERR_DEVICE', argument, "'cpu', 'cuda' or 'cuda:<number>'", show(name));
  }
  const known = devices();
  const found =
    known.find((device) => device.name === full) ??
    known.find((device) => !device.available && kindOf(device.name) === kindOf(full));
  if (!found?.available) {
    const reason = found?.reason ?? `there is ${known.map((device) => device.name).join(', ')}`;
    throw new FlashAttentionError(
      'ERR_DEVICE_UNAVAILABLE',
      `Expected ${argument} to be a usable device but received '${name}': ${reason.replace(/\.$/, '')}.`,
      { argument },
    );
  }
  usable.add(full);
  return full as DeviceName;
}

/**
 * The device of tensors made without one: the first CUDA device when usable, else the CPU.
 * `FLASH_ATTENTION_DEVICE` (`cpu`, `cuda`, `cuda:<number>`) overrides that.
 *
 * @throws {@link FlashAttentionError} `ERR_DEVICE_UNAVAILABLE` or `ERR_DEVICE` when the override
 * names a device that cannot be used: there is no silent fallback.
 */
export function defaultDevice(): DeviceName {
  const override = process.env.FLASH_ATTENTION_DEVICE;
  if (override) return resolveDevice(override, 'FLASH_ATTENTION_DEVICE');
  automatic ??= devices().find((d) => d.available && d.name.startsWith('cuda:'))?.name ?? 'cpu';
  return automatic;
}

let automatic: DeviceName | undefined;

/** The device an option asks for, else the default one. */
export function deviceOption(name: unknown, argument = 'options.device'): DeviceName {
  return name === undefined ? defaultDevice() : resolveDevice(name, argument);
}

/**
 * Resolves when everything enqueued so far on `device`, in both of its queues, has run. Never
 * blocks the event loop.
 *
 * @param device Default: {@link defaultDevice}.
 * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_DEVICE` or `ERR_DEVICE_UNAVAILABLE`, as a
 * rejection.
 */
export async function synchronize(device?: DeviceName): Promise<void> {
  const name = deviceOption(device, 'device');
  await wait(() => native().synchronize(name));
}

/**
 * Milliseconds of device time that what `work` enqueues on `device` takes: from the moment its
 * first task may begin to the end of its last one, by CUDA events on a GPU and by a clock of the
 * device's own thread on the CPU. `work` must not be asynchronous: what it enqueues after its first
 * `await` is not counted, nor are calls with `priority: 'high'`.
 *
 * @param device Default: {@link defaultDevice}.
 * @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_DEVICE` or `ERR_DEVICE_UNAVAILABLE`, and
 * whatever `work` throws; as a rejection.
 */
export async function timeOnDevice(work: () => void, device?: DeviceName): Promise<number> {
  if (typeof work !== 'function') fail('ERR_TYPE', 'work', 'a function', show(work));
  const name = deviceOption(device, 'device');
  const lap = () => wait(() => native().lap(name));
  const before = lap();
  before.catch(() => {}); // what the work throws comes first
  work();
  const after = lap();
  const [, milliseconds] = await Promise.all([before, after]);
  return new Float64Array(milliseconds)[0];
}

/**
 * Counts of live tensors, their storages and bytes, in this thread and over all devices; and what
 * this process holds of the memory of GPUs.
 */
export function memory(): MemoryUse {
  return call(() => native().memory());
}
