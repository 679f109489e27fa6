// The package managers, each in an empty folder: it installs, says nothing of scripts, and the
// package works.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { bareEnvironment, emptyProject, run, scratch, tarball } from './consumer.js';
import { everything, record } from './record.js';
import { cache, type Tool, withTool } from './toolbox.js';
import type { ToolName } from './tools.js';

interface Manager {
  readonly name: string;
  readonly tool?: ToolName;
  /** The Node that it needs, should ours be too old. */
  readonly node?: ToolName;
  readonly quick?: boolean;
  readonly files?: Record<string, string>;
  install(tool: Tool, node: string): readonly string[];
  /** A command that runs a program, where `node` itself would not find the package. */
  runner?(tool: Tool): readonly string[];
}

const npmFlags = ['--prefer-offline', '--no-audit', '--no-fund'];
const yarn = ({ folder }: Tool) => ['node', path.join(folder, 'bin/yarn.js')];
const addByYarn = (tool: Tool) => [...yarn(tool), 'add', `flash-attention@file:${tarball}`];

const managers: readonly Manager[] = [
  {
    name: 'npm, of this Node.js',
    quick: true,
    install: () => ['npm', 'install', ...npmFlags, tarball],
  },
  {
    name: 'npm 12',
    tool: 'npm 12',
    node: 'Node 24',
    install: ({ folder }, node) => [
      node,
      `${folder}/bin/npm-cli.js`,
      'install',
      ...npmFlags,
      tarball,
    ],
  },
  {
    name: 'pnpm 10',
    tool: 'pnpm 10',
    install: ({ folder }) => ['node', `${folder}/bin/pnpm.cjs`, 'add', tarball],
  },
  {
    name: 'pnpm 12',
    tool: 'pnpm 12',
    quick: true,
    install: ({ folder }) => [`${folder}/pnpm`, 'add', tarball],
  },
  {
    name: 'Yarn 4, node_modules',
    tool: 'Yarn 4',
    quick: true,
    files: { 'yarn.lock': '', '.yarnrc.yml': 'nodeLinker: node-modules\n' },
    install: addByYarn,
  },
  {
    name: "Yarn 4, Plug'n'Play",
    tool: 'Yarn 4',
    quick: true,
    files: { 'yarn.lock': '', '.yarnrc.yml': 'nodeLinker: pnp\n' },
    install: addByYarn,
    runner: (tool) => [...yarn(tool), 'node'],
  },
  { name: 'Bun', tool: 'Bun', install: ({ folder }) => [`${folder}/bin/bun`, 'add', tarball] },
];

/** What package managers say of install scripts that they ran, or did not. */
const wordsOfScripts =
  /build scripts?|install scripts?|lifecycle|approve|allow-?scripts|node-gyp |gyp /i;

const folder = scratch();
const env = {
  ...bareEnvironment(folder),
  // Their stores, so that nothing of the user's home is touched and nothing is fetched twice.
  XDG_DATA_HOME: path.join(cache, 'pnpm'),
  XDG_CACHE_HOME: path.join(cache, 'pnpm-cache'),
  YARN_GLOBAL_FOLDER: path.join(cache, 'yarn'),
  YARN_ENABLE_TELEMETRY: '0',
  YARN_ENABLE_IMMUTABLE_INSTALLS: 'false',
  BUN_INSTALL_CACHE_DIR: path.join(cache, 'bun'),
};
/** For the npm and the Node that run these tests. */
const own: Tool = { version: '', folder: '', home: '' };

function defineTest(manager: Manager, tool: Tool, node: Tool): void {
  test(`${manager.name} installs it without a word of scripts, and it works`, () => {
    const project = emptyProject(folder, manager.name.replace(/\W+/g, '-'), manager.files);
    const command = manager.install(tool, path.join(node.folder, 'bin/node'));
    expect(run(project, command, env)).not.toMatch(wordsOfScripts);
    const { dependencies } = JSON.parse(readFileSync(path.join(project, 'package.json'), 'utf8'));
    expect(Object.keys(dependencies)).toEqual(['flash-attention']);
    const runner = manager.runner?.(tool) ?? ['node'];
    for (const program of ['esm.mjs', 'cjs.cjs', 'worker.cjs']) {
      const last = run(project, [...runner, program], env)
        .split('\n')
        .at(-1);
      expect(`${program}: ${last}`).toBe(`${program}: correct`);
    }
    const version = tool.version || run(project, ['npm', '--version'], env);
    record({ table: 'manager', name: manager.name, version, outcome: 'ran' });
  }, 300_000);
}

/** Calls `define` with the tool, with our own where there is no name. */
const withToolOrOwn = (name: ToolName | undefined, define: (tool: Tool) => void) =>
  name === undefined ? define(own) : withTool(name, define);

for (const manager of managers.filter(({ quick }) => quick || everything)) {
  withToolOrOwn(manager.tool, (tool) =>
    withToolOrOwn(manager.node, (node) => defineTest(manager, tool, node)),
  );
}
