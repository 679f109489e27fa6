import { readFileSync } from 'node:fs';
import type { DeviceInfo } from '../index.js';
import { type Check, note, ok, problem } from './doctor-check.js';
import { showError } from './format.js';
import type { ProbeStage } from './probe.js';

type Stage<S extends ProbeStage['stage']> = Extract<ProbeStage, { stage: S }>;

/**
 * Every device but the one in use, which has checks of its own; an absent GPU is no fault by
 * itself.
 */
export function checkOtherDevices(devices: readonly DeviceInfo[], wanted: string): Check[] {
  return devices
    .filter(({ name }) => name !== wanted)
    .map((device) => {
      const { name, available, reason, model, kernels } = device;
      if (available) return ok(name, [model, ...kernels].filter(Boolean).join(', '));
      return note(name, `not usable: ${reason}${driverHint(name)}`);
    });
}

/** Why first calls take longer on a GPU without machine code. */
export function checkKernelImage(devices: readonly DeviceInfo[], used: string): Check[] {
  const device = devices.find(({ name }) => name === used);
  if (device?.kernelImage !== 'PTX') return [];
  const found = `PTX: this build has no machine code for ${device.capability}, so the driver compiles each at its first call`;
  return [note('kernels', found, 'It keeps them in ~/.nv/ComputeCache: let that folder stay.')];
}

/** The NVIDIA driver of the machine, where the kernel tells of one. */
export function nvidiaDriver(file = '/proc/driver/nvidia/version'): string | undefined {
  try {
    return /Kernel Module\D*([\d.]+)/.exec(readFileSync(file, 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}

function driverHint(device: string): string {
  if (!device.startsWith('cuda')) return '';
  const driver = nvidiaDriver();
  return driver
    ? ` (this machine has NVIDIA driver ${driver})`
    : ' (and no NVIDIA driver is loaded)';
}

/** The device that was asked for, by option or variable, cannot be used. */
export function deviceProblem(error: string, wanted: string | undefined): Check {
  const asked = wanted ?? process.env.FLASH_ATTENTION_DEVICE;
  const remedy = asked
    ? `Choose another: unset FLASH_ATTENTION_DEVICE or leave out --device. There is no silent fallback.`
    : 'See the checks above.';
  const found = error.replace(
    /^Expected \S+ to be a usable device but received '(.+?)': /,
    '$1 cannot be used: ',
  );
  return problem('device', found, remedy);
}

/** The results of the tiny attention calls, one line for all types. */
export function checkAttention(device: string, results: readonly Stage<'attention'>[]): Check {
  const shown = results.map(({ dtype, out }) => `${dtype} (error ${showError(out.error)})`);
  const wrong = results.filter((result) => !result.ok);
  if (wrong.length === 0) return ok('attention', `right on ${device} in ${shown.join(', ')}`);
  const bad = wrong.map(
    ({ dtype, out }) =>
      `${dtype}: error ${showError(out.error)}, allowed ${showError(out.allowed)}`,
  );
  return problem(
    'attention',
    `WRONG on ${device}: ${bad.join('; ')}`,
    'Please report this with the output of "flash-attention doctor --json". FLASH_ATTENTION_CPU_ISA=x86-64-v2 may avoid it.',
  );
}
