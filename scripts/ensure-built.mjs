// Brings a clone to the state in which its code can run: dependencies installed, addon and
// TypeScript built. Does only what is out of date. Plain Node: it runs before `npm ci` did.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/** Files below `folder` (relative to the package) whose path matches, relative to the package. */
export function globFiles(folder, pattern) {
  if (!existsSync(path.join(root, folder))) return [];
  return readdirSync(path.join(root, folder), { recursive: true })
    .map((name) => path.join(folder, name))
    .filter((name) => pattern.test(name))
    .sort();
}

const modified = (name) => statSync(path.join(root, name), { throwIfNoEntry: false })?.mtimeMs;

/** Whether a file of `outputs` is missing or older than any of `sources`. */
function isStale(outputs, sources) {
  const oldest = Math.min(...outputs.map((name) => modified(name) ?? 0));
  return sources.some((name) => (modified(name) ?? 0) > oldest);
}

/** Exit status of a check that could not run here, as Automake has it. */
export const skipped = 77;

/** Runs a command in the package folder; ends this process with its status when it fails. */
export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (error) console.error(`${command}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

/** Runs the npm that runs us, else the one on PATH. */
export function npm(...args) {
  npmIn('', ...args);
}

function npmIn(folder, ...args) {
  const cwd = path.join(root, folder);
  const cli = process.env.npm_execpath;
  if (cli?.endsWith('npm-cli.js')) run(process.execPath, [cli, ...args], { cwd });
  else run('npm', args, { cwd });
}

/** The packages of a lockfile, by path; none when there is no such file. */
function packagesOf(lockfile) {
  const file = path.join(root, lockfile);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).packages : {};
}

/**
 * `npm ci` when node_modules is not what the lockfile says. Dates do not tell: a checkout makes the
 * lockfile look newer, and `npm ci` would empty a node_modules that checkouts share by a link.
 */
export function ensureInstalled(folder = '') {
  const installed = packagesOf(path.join(folder, 'node_modules/.package-lock.json'));
  const missing = Object.entries(packagesOf(path.join(folder, 'package-lock.json'))).some(
    ([name, { version, optional }]) =>
      name !== '' && !optional && installed[name]?.version !== version,
  );
  // No package here needs its install script.
  if (missing) npmIn(folder, 'ci', '--ignore-scripts');
}

/** The addon that binding.cjs would load, if it was made by the latest build. */
function builtAddon(stamp) {
  const prebuilds = `prebuilds/${process.platform}-${process.arch}`;
  const found = ['build/Release/flash_attention.node', ...globFiles(prebuilds, /\.node$/)];
  // prebuildify moves the addon, so that a build may have left it in either place.
  return found.find((name) => modified(name) >= modified(stamp));
}

/** Installs and builds what is missing or older than its sources. */
export function ensureBuilt() {
  ensureInstalled();
  const native = ['CMakeLists.txt', 'scripts/cmake-build.cjs', ...globFiles('csrc', /\.\w+$/)];
  const stamps = ['Release', 'prebuild'].map((name) => `build-cmake/${name}/built`);
  const isBuilt = (stamp) => !isStale([stamp], native) && builtAddon(stamp);
  if (!stamps.some(isBuilt)) npm('run', 'build:native');
  buildTypeScript();
}

/** The same without the addon, for what only looks at the package. */
export function ensureTypeScriptBuilt() {
  ensureInstalled();
  buildTypeScript();
}

function buildTypeScript() {
  const entries = ['index', 'reference', 'serving'].flatMap((entry) =>
    ['js', 'cjs', 'd.ts', 'd.cts'].map((ending) => `${entry}.${ending}`),
  );
  const outputs = [...entries, 'cli.js', 'cli-main.js', 'viz.html'];
  const scripts = ['scripts/package-constants.mjs', 'scripts/viz-page.mjs'];
  const settings = ['tsup.config.ts', 'tsconfig.json', ...scripts];
  const sources = [...globFiles('lib', /\.ts$/), ...globFiles('viz', /\.(ts|css|html|json)$/)];
  const built = outputs.map((name) => `dist/${name}`);
  if (isStale(built, ['package.json', ...settings, ...sources])) npm('run', 'build:ts');
}

/** The same for the server, a package of its own that links to this one. */
export function ensureServeBuilt() {
  ensureBuilt();
  buildServe();
}

function buildServe() {
  ensureInstalled('serve');
  const settings = ['tsconfig.json', 'tsconfig.build.json', 'package.json'];
  const sources = [...globFiles('serve/src', /\.\w+$/), ...settings.map((n) => `serve/${n}`)];
  if (isStale(['serve/dist/built'], sources)) npmIn('serve', 'run', 'build');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--install')) ensureInstalled();
  else if (process.argv.includes('--serve')) buildServe();
  else ensureBuilt();
}
