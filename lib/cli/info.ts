import { findAddon } from '../native/binding.js';
import { type DeviceInfo, defaultDevice, devices } from '../index.js';
import { type NativeInfo, native } from '../native/addon.js';
import { packageName, version } from '../native/package.js';
import { systemGlibc } from './addon-file.js';
import { messageOf } from './cli-error.js';
import { paint, showBytes, showTable } from './format.js';
import { toJson } from './json.js';

/** What `info` prints. */
export interface Info {
  readonly package: string;
  readonly version: string;
  readonly node: string;
  readonly napi: string;
  readonly platform: string;
  readonly glibc: string | undefined;
  readonly addon: (Partial<NativeInfo> & { path?: string; kind?: string }) | undefined;
  readonly devices: readonly DeviceInfo[];
  readonly defaultDevice: string | undefined;
  /** Why there is no addon or no default device. */
  readonly error?: string;
}

export function collectInfo(): Info {
  const known = {
    package: packageName,
    version,
    node: process.versions.node,
    napi: process.versions.napi ?? 'none',
    platform: `${process.platform}-${process.arch}`,
    glibc: systemGlibc(),
  };
  const file = findAddon();
  try {
    const addon = { ...file, ...native().info() };
    return { ...known, addon, devices: devices(), ...chooseDevice() };
  } catch (error) {
    const failed = { addon: file, devices: [], defaultDevice: undefined };
    return { ...known, ...failed, error: messageOf(error) };
  }
}

function chooseDevice(): { defaultDevice: string | undefined; error?: string } {
  try {
    return { defaultDevice: defaultDevice() };
  } catch (error) {
    return { defaultDevice: undefined, error: messageOf(error) };
  }
}

/** Prints what this process computes with; the exit code is 1 when nothing. */
export function info({ json }: { json?: boolean }): number {
  const found = collectInfo();
  console.log(json ? toJson(found) : showInfo(found));
  if (found.error && !json) console.error(`\n${found.error}`);
  return found.error ? 1 : 0;
}

function showInfo({ addon, ...found }: Info): string {
  const libc = found.glibc ? `glibc ${found.glibc}` : 'no glibc';
  const rows: [string, string][] = [
    [found.package, found.version],
    ['node', `${found.node}, Node-API ${found.napi}`],
    [
      'platform',
      found.platform.startsWith('linux') ? `${found.platform}, ${libc}` : found.platform,
    ],
    ['addon', addon?.path ? `${addon.path} (${addon.kind})` : 'none'],
  ];
  if (addon?.build) {
    rows.push(['', `version ${addon.version}, ${addon.build}, ${addon.compiler}`]);
    const others = addon.isaLevels?.filter((level) => level !== addon.isa) ?? [];
    const also = others.length > 0 ? ` (also possible: ${others.join(', ')})` : '';
    rows.push(['SIMD', `${addon.isa || 'none'}${also}`], ['threads', `${addon.threads}`]);
  }
  for (const device of found.devices) {
    const isDefault = device.name === found.defaultDevice ? paint('green', ' default') : '';
    rows.push([device.name, showDeviceLine(device) + isDefault]);
  }
  return showTable(rows);
}

function showDeviceLine(device: DeviceInfo): string {
  const { available, reason, model, memory, kernels, kernelImage } = device;
  if (!available) return paint('yellow', 'not usable: ') + (reason ?? 'unknown reason');
  const compiled = kernelImage === 'PTX' && 'as PTX, compiled at first calls';
  const details = [model, memory && showBytes(memory), `kernels ${kernels.join(', ')}`, compiled];
  return details.filter(Boolean).join(', ');
}
