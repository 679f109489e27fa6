// An empty project of someone who installs the packed package, on a machine without build tools.
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** The packed package; pack.mjs makes it before any test. */
export const tarball = process.env.FLASH_ATTENTION_TARBALL as string;

/** One key: softmax over it is 1, so the output is the value. */
const body = `
  try {
    const values = Float32Array.from({ length: 64 }, (_, i) => i - 32);
    const q = tensor(new Float32Array(64).fill(0.5), [1, 1, 1, 64]);
    const v = tensor(values, [1, 1, 1, 64]);
    const out = await flashAttention(q, q, v).toFloat32();
    console.log(out.length === 64 && out.every((x, i) => x === values[i]) ? 'correct' : out);
  } catch (error) {
    console.log(error.code, error.message);
  }
`;
const required = `
  const { flashAttention, tensor } = require('flash-attention');
  (async () => { ${body} })();
`;

/** Programs that print 'correct', or the code and the message of an error. */
export const programs = {
  'esm.mjs': `import { flashAttention, tensor } from 'flash-attention'; ${body}`,
  'cjs.cjs': required,
  'worker.cjs': `
    const { isMainThread, Worker } = require('node:worker_threads');
    if (isMainThread) new Worker(__filename);
    else { ${required} }
  `,
  'reference.mjs': `
    import * as reference from 'flash-attention/reference';
    console.log(typeof reference.standardAttention === 'function' ? 'correct' : reference);
  `,
  'serving.mjs': `
    import { tensor } from 'flash-attention';
    import { applyRotary } from 'flash-attention/serving';
    const table = tensor([0, 0], [1, 2]);
    const x = applyRotary(tensor([1, 2, 3, 4], [1, 1, 4]), { cos: table, sin: table });
    console.log((await x.data()).every((value) => value === 0) ? 'correct' : x);
  `,
} as const;

export type Program = keyof typeof programs;

/** A scratch folder that is removed after the tests of the file. */
export function scratch(): string {
  const folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'flash-attention-install-')));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A folder with the programs in it and nothing installed. */
export function emptyProject(parent: string, name: string, files: Record<string, string> = {}) {
  const folder = path.join(parent, name);
  mkdirSync(folder);
  const all = { 'package.json': '{ "private": true }\n', ...programs, ...files };
  for (const [file, text] of Object.entries(all)) writeFileSync(path.join(folder, file), text);
  return folder;
}

function onPath(name: string): string {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  const found = folders.map((each) => path.join(each, name)).find((file) => existsSync(file));
  if (!found) throw new Error(`${name} is not on PATH`);
  return found;
}

/** A PATH with node, npm and a shell, and nothing that could compile. */
export function bareEnvironment(parent: string): NodeJS.ProcessEnv {
  const bin = path.join(parent, 'bin');
  if (!existsSync(bin)) {
    mkdirSync(bin);
    symlinkSync(process.execPath, path.join(bin, 'node'));
    for (const name of ['npm', 'npx', 'sh']) symlinkSync(onPath(name), path.join(bin, name));
  }
  // What the npm that runs the tests tells its scripts is about this folder, not the new one.
  const others =
    /^(npm_(lifecycle|package|command|execpath|config_local)|FLASH_ATTENTION|NODE_(?!EXTRA)|CXX$|INIT_CWD$)/;
  const kept = Object.entries(process.env).filter(([name]) => !others.test(name));
  return { ...Object.fromEntries(kept), PATH: bin };
}

/** Runs a command and gives all that it printed; throws where its status is not 0. */
export function run(cwd: string, argv: readonly string[], env: NodeJS.ProcessEnv): string {
  const [command, ...args] = argv;
  const options = { cwd, env, encoding: 'utf8', maxBuffer: 1 << 26 } as const;
  const { status, stdout, stderr, error } = spawnSync(command, args, options);
  if (error) throw error;
  const output = `${stdout}${stderr}`.trim();
  if (status !== 0) throw new Error(`${argv.join(' ')}: status ${status}\n${output}`);
  return output;
}

/** A project that npm has installed the package in. */
export function npmProject(parent: string, name: string): string {
  const folder = emptyProject(parent, name);
  const flags = ['--prefer-offline', '--no-audit', '--no-fund'];
  run(folder, ['npm', 'install', ...flags, tarball], bareEnvironment(parent));
  return folder;
}
