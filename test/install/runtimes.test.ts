// The installed package in every runtime, and under the permission models of those that have one.
import path from 'node:path';
import { bareEnvironment, npmProject, type Program, run, scratch } from './consumer.js';
import { everything, record } from './record.js';
import { type Tool, withTool } from './toolbox.js';
import type { ToolName } from './tools.js';

interface Runtime {
  readonly name: ToolName;
  readonly quick?: boolean;
  readonly binary: string;
  /** Flags of `run`, where everything is allowed. */
  readonly flags?: readonly string[];
  /** Its permission model, if it has one: flags with which the package works, and one too few. */
  readonly permissions?: (project: string) => {
    readonly enough: readonly string[];
    readonly tooFew: readonly (readonly string[])[];
    readonly advice: RegExp;
  };
}

const nodePermissions = (model: string) => (project: string) => {
  const flags = ['--no-warnings', model, `--allow-fs-read=${project}/*`];
  return {
    enough: [...flags, '--allow-addons'],
    tooFew: [flags],
    advice: /under --permission with --allow-addons/,
  };
};
const node = { binary: 'bin/node', permissions: nodePermissions('--permission') };
const node20 = { binary: 'bin/node', permissions: nodePermissions('--experimental-permission') };

const runtimes: readonly Runtime[] = [
  { name: 'Node 20.17', ...node20 },
  { name: 'Node 20', ...node20 },
  { name: 'Node 22', ...node },
  { name: 'Node 24', quick: true, ...node },
  { name: 'Node 26', ...node },
  { name: 'Bun', binary: 'bin/bun' },
  {
    name: 'Deno',
    binary: 'deno',
    flags: ['run', '--allow-all'],
    permissions: (project) => {
      const [read, ffi] = [`--allow-read=${project}`, `--allow-ffi=${project}`];
      const run = ['run', '--no-prompt', '--allow-env'];
      return {
        enough: [...run, read, ffi],
        tooFew: [
          [...run, read],
          [...run, ffi],
        ],
        advice: /--allow-ffi --allow-read --allow-env/,
      };
    },
  },
];

const folder = scratch();
const env = bareEnvironment(folder);
let project: string;
beforeAll(() => {
  project = npmProject(folder, 'project');
}, 300_000);

function defineTests(runtime: Runtime, { version, folder: home }: Tool): void {
  const { name, binary, flags = [], permissions } = runtime;
  const start = (program: Program, given: readonly string[] = flags) =>
    run(project, [path.join(home, binary), ...given, program], env);

  test(`${name}: ESM, CommonJS and a worker thread`, () => {
    for (const program of ['esm.mjs', 'cjs.cjs', 'worker.cjs'] as const) {
      expect(`${program}: ${start(program)}`).toBe(`${program}: correct`);
    }
    record({ table: 'runtime', name, version, outcome: 'ran: ESM, CommonJS, worker thread' });
  }, 120_000);

  if (!permissions) return;
  test(`${name}: under its permission model it names the right that it lacks`, () => {
    const { enough, tooFew, advice } = permissions(project);
    for (const program of ['esm.mjs', 'cjs.cjs'] as const) {
      expect(start(program, enough)).toBe('correct');
      for (const each of tooFew) {
        const output = start(program, each);
        expect(output).toMatch(/^ERR_NATIVE_BINARY /);
        expect(output).toMatch(advice);
      }
    }
    const rights = enough.filter((flag) => flag.startsWith('--allow-')).join(' ');
    const outcome = `ran with \`${rights.replaceAll(project, '<project>')}\``;
    record({ table: 'runtime', name: `${name}, permission model`, version, outcome });
  }, 120_000);
}

for (const runtime of runtimes.filter(({ quick }) => quick || everything)) {
  withTool(runtime.name, (tool) => defineTests(runtime, tool));
}
