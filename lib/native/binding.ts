// binding.cjs, the loader of the native addon, which is not part of dist/. package.json gives it
// this name, which is right from everywhere.
import type { AddonFile } from '#binding';
import loader from '#binding';

export type { AddonFile };

/** The folder of this package; undefined where the package is part of a bundle. */
export const packageFolder = (): string | undefined => loader.packageFolder();

/** The folder of the bundle that this package is part of. */
export const bundleFolder = (): string => loader.bundleFolder(import.meta.url);

/** The file that `loadAddon` loads; undefined where there is none. Loads nothing. */
export const findAddon = (): AddonFile | undefined => loader.find(import.meta.url);

/** Throws whatever the system says where the addon cannot be loaded. */
export const loadAddon = (): unknown => loader.load(import.meta.url);
