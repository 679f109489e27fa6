// `npm run report:viz`: photographs every view of the visualiser for docs/images. Needs Chromium
// and pngquant. The committed pictures were made with the font Inter.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { findBrowser, launchOptions } from './browser.mjs';
import { ensureBuilt, root, run } from './ensure-built.mjs';
import { installHint, missingPackages } from './platforms/tools.mjs';

const most = 150_000;

const views = {
  tiles: '#tiles?causal=1&step=30&row=37',
  standard: '#tiles?algorithm=standard&step=330&row=12',
  decoding: '#tiles?algorithm=decoding&n=96&d=16&group=4&step=54',
  backward: '#tiles?algorithm=backward&causal=1&step=33&row=20',
  memory: '#memory',
  softmax: '#softmax',
  call: '#call',
  trace: '#call',
};

const desktop = { width: 1280, height: 880 };
const phone = { width: 360, height: 780 };

/** Each picture: its file, the link, the window and whether it is dark. */
const pictures = [
  ...Object.entries(views).map(([name, link]) => [name, link, desktop, false]),
  ...['tiles', 'memory', 'softmax', 'call'].flatMap((name) => [
    [`${name}-dark`, views[name], desktop, true],
    [`${name}-phone`, views[name], phone, false],
  ]),
];

const command = findBrowser();
const missing = missingPackages({ pngquant: 'pngquant' });
const wanted = [...(command === undefined ? ['chromium'] : []), ...missing];
if (wanted.length > 0) {
  console.error(`report:viz: not found.\n  ${installHint(wanted)}`);
  process.exit(1);
}
ensureBuilt();
const folder = path.join(root, 'docs/images');
mkdirSync(folder, { recursive: true });
const traced = traceCall();
const browser = await chromium.launch(launchOptions(command));
const page = pathToFileURL(path.join(root, 'dist/viz.html')).href;
for (const [name, link, viewport, isDark] of pictures) {
  const options = { viewport, colorScheme: isDark ? 'dark' : 'light' };
  const tab = await browser.newPage(options);
  await tab.goto(page + link);
  if (name === 'trace') {
    await tab.locator('#plan-text').fill(traced.plan);
    await tab.locator('#trace-file').setInputFiles(traced.file);
    await tab.locator('#timeline').scrollIntoViewIfNeeded();
  }
  await tab.evaluate('document.fonts.ready');
  const file = path.join(folder, `visualiser-${name}.png`);
  await tab.screenshot({ path: file });
  await tab.close();
  run('pngquant', ['--force', '--ext', '.png', '--strip', '96', file]);
  const { size } = statSync(file);
  console.log(`${path.relative(root, file)}: ${size} bytes`);
  if (size > most) process.exitCode = 1;
}
await browser.close();
rmSync(traced.folder, { recursive: true });

/** The plan and the trace of a call, made here. */
function traceCall() {
  const folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-'));
  const file = path.join(folder, 'trace.json');
  const shape = '--seqlen-q 2048 --heads 8 --kv-heads 2 --head-dim 64 --causal --num-splits 2';
  const args = ['dist/cli.js', 'explain', ...shape.split(' '), '--device', 'cpu', '--json'];
  const { status, stdout, stderr } = spawnSync(process.execPath, [...args, '--trace', file], {
    cwd: root,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return { folder, file, plan: stdout };
}
