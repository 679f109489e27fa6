import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from './package-root.js';

/** Prebuilt binaries in the package, as `linux-x64/flash-attention.glibc.node`. */
export function prebuiltAddons(): string[] {
  const folder = path.join(packageRoot, 'prebuilds');
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder, { recursive: true }) as string[];
  const addons = files.filter((name) => name.endsWith('.node'));
  return addons.map((name) => name.replaceAll(path.sep, '/')).sort();
}

/** A glibc version, `2.28`, or undefined on systems with another libc. */
export function systemGlibc(): string | undefined {
  // The report would look up the names of all open connections otherwise.
  (process.report as unknown as { excludeNetwork: boolean }).excludeNetwork = true;
  const { header } = process.report.getReport() as unknown as {
    header: { glibcVersionRuntime?: string };
  };
  return header.glibcVersionRuntime;
}

/**
 * The least glibc that can load `file`: the newest version among the names of the versions it asks
 * for. Undefined when it asks for none, as a musl binary.
 */
export function requiredGlibc(file: string): string | undefined {
  const names = readFileSync(file)
    .toString('latin1')
    .matchAll(/GLIBC_(\d+(?:\.\d+)+)\0/g);
  const versions = Array.from(names, ([, version]) => version);
  return versions.sort(compareVersions).at(-1);
}

/** Negative when `a` is the older one. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
