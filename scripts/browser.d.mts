import type { LaunchOptions } from 'playwright-core';

export function launchOptions(command: string | undefined): LaunchOptions;
