// The server as npm installs it, beside the package it is for.
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import path from 'node:path';
// @ts-expect-error: plain JavaScript
import { packServe } from '../../scripts/release/serve-package.mjs';
import { root } from '../support/cli.js';
import { emptyProject, run, scratch, tarball } from './consumer.js';

const json = (file: string) => JSON.parse(readFileSync(file, 'utf8'));
const { version } = json(path.join(root, 'package.json'));
const folder = scratch();

/** Packs what is built. */
function packed(): string {
  run(root, ['node', 'scripts/ensure-built.mjs', '--serve'], process.env);
  const to = path.join(folder, 'packed');
  mkdirSync(to);
  packServe((cwd: string) =>
    run(cwd, ['npm', 'pack', '--ignore-scripts', '--pack-destination', to], process.env),
  );
  const [name] = readdirSync(to);
  return path.join(to, name);
}

test('both tarballs in an empty folder: the server finds the package, and answers', async () => {
  const server = packed();
  expect(path.basename(server)).toBe(`flash-attention-serve-${version}.tgz`);
  const project = emptyProject(folder, 'project');
  const flags = ['--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts'];
  run(project, ['npm', 'install', ...flags, tarball, server], process.env);

  const installed = path.join(project, 'node_modules/flash-attention-serve');
  const { dependencies, ...own } = json(path.join(installed, 'package.json'));
  expect(dependencies['flash-attention']).toBe(version);
  expect(JSON.stringify({ dependencies, own })).not.toContain('file:');
  expect(own).not.toHaveProperty('private');
  // One package, where both find it; and all that package.json names.
  expect(readdirSync(installed)).not.toContain('node_modules');
  expect(readdirSync(installed)).toEqual(expect.arrayContaining(own.files));

  const model = path.join(project, 'model');
  cpSync(path.join(root, 'serve/demo/model'), model, { recursive: true });
  const bin = path.join(project, 'node_modules/.bin/flash-attention-serve');
  expect(run(project, [bin, 'inspect', model], process.env)).toContain('can be served');

  const child = spawn(process.execPath, [bin, model, '--port', '0', '--log-level', 'silent'], {
    cwd: project,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const url = await new Promise<string>((resolve, reject) => {
      child.on('exit', (code) => reject(new Error(`status ${code}`)));
      createInterface({ input: child.stdout }).on('line', (line) => {
        resolve(/http:\S+/.exec(line)?.[0] ?? line);
      });
    });
    const messages = [{ role: 'user', content: 'What colour is grass?' }];
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ messages, temperature: 0 }),
    });
    const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
    expect(choices[0].message.content).toBe('Grass is green.');
  } finally {
    child.kill();
  }
}, 600_000);
