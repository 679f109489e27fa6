// Bundlers and tracers. What they make has to work where node_modules is not, or the error has to
// name the line of configuration with which it works.
import { copyFileSync, cpSync, existsSync, mkdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { root } from '../support/cli.js';
import { bareEnvironment, npmProject, run, scratch } from './consumer.js';
import { everything, record } from './record.js';
import { type Tool, withTool } from './toolbox.js';
import type { ToolName } from './tools.js';

interface Bundler {
  readonly name: ToolName;
  /** How it is asked to bundle, where that is not what it does by itself. */
  readonly how?: string;
  readonly quick?: boolean;
  /** The line that the error has to name. */
  readonly line: string;
}

const bundlers: readonly Bundler[] = [
  { name: 'esbuild', quick: true, line: "esbuild  external: ['flash-attention']" },
  {
    name: 'webpack',
    line: "webpack  externals: { 'flash-attention': 'commonjs flash-attention' }",
  },
  { name: 'Rollup', line: "Rollup   external: ['flash-attention']" },
  {
    name: 'Vite',
    how: 'SSR with `noExternal: true`',
    line: "Vite     ssr: { external: ['flash-attention'] }",
  },
];
/** By the module system of the source and of the bundle. */
const formats = [
  ['esm.mjs', 'bundle.mjs'],
  ['cjs.cjs', 'bundle.cjs'],
] as const;

const folder = scratch();
const env = bareEnvironment(folder);
let project: string;
beforeAll(() => {
  project = npmProject(folder, 'project');
}, 300_000);

/** Runs test/install/bundlers/<script> in the tool's folder, where its packages are. */
function bundle(tool: Tool, script: string, program: string, outfile: string, line = ''): void {
  const copy = path.join(tool.home, script);
  copyFileSync(path.join(root, 'test/install/bundlers', script), copy);
  run(tool.home, ['node', copy, path.join(project, program), outfile, line], env);
}

/** An empty folder outside the project. */
function elsewhere(name: string): string {
  const made = path.join(folder, name);
  mkdirSync(made);
  return made;
}

/** Runs something as on another machine: the project is not there. */
function runWithoutProject(command: readonly string[]): string {
  const hidden = `${project}.hidden`;
  renameSync(project, hidden);
  try {
    return run(folder, command, env);
  } finally {
    renameSync(hidden, project);
  }
}

const asItIs = 'works as it is';

function defineTests({ name, how, line }: Bundler, tool: Tool): void {
  const script = `${name.toLowerCase()}.mjs`;

  test.each(formats)(
    `${name}, %s: its bundle names the line, or takes the binary beside it`,
    (from, to) => {
      const out = elsewhere(`${name}-${to}`);
      bundle(tool, script, from, path.join(out, to));
      const alone = runWithoutProject(['node', path.join(out, to)]);
      expect(alone).toMatch(/^ERR_NATIVE_BINARY .* in this bundle\.\n/);
      expect(alone).toContain(line);
      expect(alone).toContain(`prebuilds to ${out}.`);

      const prebuilds = path.join(project, 'node_modules/flash-attention/prebuilds');
      cpSync(prebuilds, path.join(out, 'prebuilds'), { recursive: true });
      expect(runWithoutProject(['node', path.join(out, to)])).toBe('correct');
    },
    300_000,
  );

  test(`${name}: with the line it works`, () => {
    for (const [from, to] of formats) {
      const file = path.join(project, `${name}-${to}`, to);
      bundle(tool, script, from, file, 'line');
      expect(run(project, ['node', file], env)).toBe('correct');
    }
    const added = line.slice(name.length).trim();
    const outcome = `works with \`${added}\`, or with \`prebuilds\` beside the bundle`;
    const title = how ? `${name}, ${how}` : name;
    record({ table: 'bundler', name: title, version: tool.version, outcome });
  }, 300_000);
}

for (const bundler of bundlers.filter(({ quick }) => quick || everything)) {
  withTool(bundler.name, (tool) => defineTests(bundler, tool));
}

if (everything) {
  withTool('@vercel/nft', (tool) => {
    test('@vercel/nft traces the binary', () => {
      for (const [program] of formats) {
        const out = elsewhere(`nft-${program}`);
        bundle(tool, 'nft.mjs', program, path.join(out, program));
        expect(existsSync(path.join(out, 'node_modules/flash-attention/csrc'))).toBe(false);
        expect(runWithoutProject(['node', path.join(out, program)])).toBe('correct');
      }
      const { version } = tool;
      record({ table: 'bundler', name: '@vercel/nft', version, outcome: asItIs });
    }, 300_000);
  });

  withTool('Bun', ({ version, folder: home }) => {
    const bun = `${home}/bin/bun`;
    const build = (...args: string[]) => run(project, [bun, 'build', ...args], env);

    test('bun build --compile embeds the binary', () => {
      const out = elsewhere('bun-compile');
      build('--compile', 'esm.mjs', '--outfile', path.join(out, 'app'));
      expect(runWithoutProject([path.join(out, 'app')])).toBe('correct');
      record({ table: 'bundler', name: 'bun build --compile', version, outcome: asItIs });
    }, 300_000);

    test.each(['node', 'bun'])(
      'bun build --target=%s copies the binary',
      (target) => {
        const out = elsewhere(`bun-${target}`);
        build('--target', target, 'esm.mjs', '--outdir', out);
        renameSync(path.join(out, 'esm.js'), path.join(out, 'esm.mjs'));
        const runtime = target === 'bun' ? bun : 'node';
        expect(runWithoutProject([runtime, path.join(out, 'esm.mjs')])).toBe('correct');
        record({
          table: 'bundler',
          name: `bun build --target=${target}`,
          version,
          outcome: asItIs,
        });
      },
      300_000,
    );
  });
}
