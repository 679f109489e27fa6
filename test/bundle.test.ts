// The package inside a bundle. esbuild stands for all bundlers here; test/install has the others.
import { cpSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { findAddon } from '../lib/native/binding.js';
// @ts-expect-error: plain JavaScript
import { findPrebuilds } from '../scripts/release/prebuilds.mjs';
import { root, runNode, scratchFolder } from './support/cli.js';

const { folder, done } = scratchFolder();
afterAll(done);

/** CommonJS by path, which leads to the CommonJS copy of the package. */
const imports = {
  esm: "import * as fa from 'flash-attention';",
  cjs: `const fa = require(${JSON.stringify(root)});`,
};
const use = `
  try {
    const x = fa.tensor([1, 2], [1, 1, 1, 2]);
    fa.flashAttention(x, x, x).toFloat32().then((out) => console.log(...out));
  } catch ({ code, message }) {
    console.log(code, message);
  }
`;
const formats = [
  ['esm', 'esm'],
  ['esm', 'cjs'],
  ['cjs', 'esm'],
  ['cjs', 'cjs'],
] as const;

test.each(formats)(
  '%s code in a bundle in %s finds its binary beside it, or says so',
  async (from, to) => {
    const bundle = path.join(folder, `${from}-${to}`, to === 'esm' ? 'main.mjs' : 'main.cjs');
    const { warnings } = await build({
      stdin: { contents: imports[from] + use, resolveDir: root },
      bundle: true,
      platform: 'node',
      format: to,
      outfile: bundle,
      logLevel: 'silent',
    });
    expect(warnings.map(({ text }) => text).filter((text) => !/import\.meta/.test(text))).toEqual(
      [],
    );

    const alone = await runNode([bundle]);
    expect(alone.stdout).toMatch(/^ERR_NATIVE_BINARY .* in this bundle\.\n/);
    expect(alone.stdout).toContain("esbuild  external: ['flash-attention']");
    expect(alone.stdout).toContain(`prebuilds to ${path.dirname(bundle)}.`);

    const libc = process.platform === 'linux' ? '.glibc' : '';
    const prebuilds = path.join(
      path.dirname(bundle),
      `prebuilds/${process.platform}-${process.arch}`,
    );
    mkdirSync(prebuilds, { recursive: true });
    cpSync(findAddon()?.path as string, path.join(prebuilds, `flash-attention${libc}.node`));
    const beside = await runNode([bundle]);
    expect(beside).toEqual({ stdout: '1 2\n', stderr: '', status: 0 });
  },
);

test('embedded.cjs has every binary of a release, where prebuildify puts it', () => {
  const text = readFileSync(path.join(root, 'embedded.cjs'), 'utf8');
  const files = Array.from(text.matchAll(/require\('([^']+)'\)/g), ([, file]) => file);
  const released = findPrebuilds().map(({ name }: { name: string }) => {
    const [system, libc] = name.split(' ');
    return `./prebuilds/${system}/${['flash-attention', libc, 'node'].filter(Boolean).join('.')}`;
  });
  expect([...files].sort()).toEqual([...released].sort());
});
