import type { LaunchOptions } from 'playwright-core';

export function launchOptions(command: string | undefined): LaunchOptions;

/** Milliseconds that a browser has for whatever it is asked. */
export const patience: number;
