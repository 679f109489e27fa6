// What this package knows of itself. Builds put the values in: scripts/package-constants.mjs.
declare const PACKAGE_VERSION: string;
declare const NODE_FLOOR: string;

export const packageName = 'flash-attention';

/** The version of this package. */
export const version: string = PACKAGE_VERSION;

/** The oldest Node.js that this package runs on. */
export const nodeFloor: string = NODE_FLOOR;
