// The code of the README and of the guides runs, and prints what they say it prints.
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { npyParts } from '../lib/cli/npy.js';
import { writeFileOf } from '../lib/cli/write-file.js';
import { root, runNode, scratchFolder } from './support/cli.js';
import { codeBlocks } from './support/code-blocks.js';

const guides = readdirSync('docs/guides').map((name) => `docs/guides/${name}`);
const blocks = ['README.md', ...guides].flatMap((file) =>
  codeBlocks(file).map((block) => ({ ...block, place: `${file}:${block.line}` })),
);
const of = (...languages: string[]) => blocks.filter((each) => languages.includes(each.language));

test('there are blocks of every kind, and none of a kind that nobody looks at', () => {
  for (const known of [of('js'), of('sh'), of('text')]) expect(known.length).toBeGreaterThan(2);
  const looked = new Set([...of('js', 'sh', 'text', 'python')]);
  expect(blocks.filter((block) => !looked.has(block)).map(({ place }) => place)).toEqual([]);
});

test('every guide has code, but for the one that says no', () => {
  const withCode = new Set(of('js').map(({ place }) => place.split(':')[0]));
  const without = guides.filter((file) => !withCode.has(file));
  expect(without).toEqual(['docs/guides/when-not-to-use-it.md']);
});

test.each(of('js'))('$place runs', async ({ code, output }) => {
  const env = { FLASH_ATTENTION_DEVICE: 'cpu' };
  const result = await runNode(['--input-type=module', '--eval', code], { cwd: root, env });
  expect(result).toMatchObject({ status: 0, stderr: '' });
  if (output !== undefined) expect(result.stdout).toBe(output);
});

/** The commands of blocks for the shell, without comments. */
const commands = of('sh').flatMap(({ place, code }) =>
  code
    .split('\n')
    .map((line) => line.replace(/(^| +)#.*/, ''))
    .filter((line) => line !== '')
    .map((command) => ({ place, command })),
);
const ours = commands.filter(({ command }) => command.startsWith('npx flash-attention '));
/** What takes minutes, or what this machine may not have. */
const isElsewhere = (command: string) => /flash-attention build|--device cuda/.test(command);

const { folder, done } = scratchFolder();
afterAll(done);

/** The environment of a shell in which `npx` finds the built package, and no browser opens. */
function shell() {
  const bin = path.join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  const script = (name: string, text: string) =>
    writeFileSync(path.join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  script('npx', `shift; exec '${process.execPath}' '${path.join(root, 'dist/cli.js')}' "$@"`);
  for (const opener of ['xdg-open', 'open']) script(opener, 'exit 0');
  return { ...process.env, PATH: `${bin}:${process.env.PATH}`, FLASH_ATTENTION_DEVICE: 'cpu' };
}

/** The files that commands speak of. */
async function writeInputs(to: string) {
  const shape = [1, 16, 4, 32];
  const data = Float32Array.from({ length: 16 * 4 * 32 }, (_, i) => Math.sin(i));
  for (const name of ['q', 'k', 'v']) {
    await writeFileOf(path.join(to, `${name}.npy`), npyParts({ dtype: 'float32', shape, data }));
  }
}

describe('commands', () => {
  test('are of programs that are known here', () => {
    expect(ours.length).toBeGreaterThan(8);
    const known = /^(npm (run|test|install)|npx flash-attention|node|nvidia-smi)\b/;
    expect(commands.filter(({ command }) => !known.test(command))).toEqual([]);
  });

  test('run files that are there', () => {
    const files = commands.flatMap(({ command }) => command.match(/^node (\S+)/)?.slice(1) ?? []);
    const inPackage = files.map((file) => file.replace('node_modules/flash-attention/', ''));
    expect(inPackage.filter((file) => !existsSync(file))).toEqual([]);
  });

  const quick = ours.filter(({ command }) => !isElsewhere(command));
  const documents = [...new Set(quick.map(({ place }) => place.split(':')[0]))];

  test.each(documents)('of flash-attention in %s run, one after the other', async (document) => {
    const cwd = path.join(folder, document.replace(/\W/g, '-'));
    mkdirSync(cwd);
    await writeInputs(cwd);
    const env = shell();
    for (const { place, command } of quick) {
      if (!place.startsWith(`${document}:`)) continue;
      const run = promisify(execFile)('sh', ['-c', command], { cwd, env });
      await expect(run.then(() => command)).resolves.toBe(command);
    }
  });
});
