import { packageFolder } from '../native/binding.js';

/** The folder of this package: unlike the library, the command line is never part of a bundle. */
export const packageRoot = packageFolder() as string;
