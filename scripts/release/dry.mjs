// `npm run release:dry`: everything of a release but publishing it. Leaves in release/ what the
// workflow publishes: the tarball, the bill of materials and the notes, in release/serve the
// tarball of the server, and the SHA-256 sums of both tarballs.
//
//   --tests      runs the tests too
//   --complete   a platform's binary that is missing is a failure, and none is built here
//
// One line per finding; exit status 1 if one is bad.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { architectures, gpuSection, sizesOf } from '../binary/gpu-code.mjs';
import { root } from '../ensure-built.mjs';
import { entryOf } from './changelog.mjs';
import { findPrebuilds, ownPrebuild } from './prebuilds.mjs';
import { packServe } from './serve-package.mjs';

const { values: options } = parseArgs({
  options: {
    tests: { type: 'boolean', default: false },
    complete: { type: 'boolean', default: false },
  },
});
/** docs/install.md says so beside the limits of AWS Lambda and Vercel. */
const mostPacked = 20e6;
const mostUnpacked = 35e6;

const out = path.join(root, 'release');
const inRoot = (name) => path.join(root, name);
const json = (name) => JSON.parse(readFileSync(inRoot(name), 'utf8'));
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(2)} MiB`;

let failed = 0;
function report(verdict, what, found) {
  if (verdict === 'FAILED') failed += 1;
  console.log(`${verdict.padEnd(8)} ${what.padEnd(12)} ${found}`);
}
const check = (ok, what, found) => report(ok ? 'ok' : 'FAILED', what, found);

/** What a command printed on standard output; undefined, and a bad line, when it failed. */
function output(what, [command, ...args], { env = {}, cwd = root } = {}) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 1 << 28,
    shell: process.platform === 'win32', // npm is a script there
  });
  if (status === 0) return stdout;
  report('FAILED', what, `${[command, ...args].join(' ')}\n${stdout}${stderr}`);
  return undefined;
}

function passes(what, ...command) {
  if (output(what, command) !== undefined) report('ok', what, command.join(' '));
}

const { name, version } = json('package.json');

function checkVersion() {
  const lock = json('package-lock.json');
  const locked = [lock.version, lock.packages[''].version];
  check(
    locked.every((each) => each === version),
    'version',
    `${version}; package-lock.json has ${locked.join(', ')}`,
  );
  const changelog = readFileSync(inRoot('CHANGELOG.md'), 'utf8');
  const { GITHUB_REF_TYPE: type, GITHUB_REF_NAME: tag } = process.env;
  if (type === 'tag') {
    check(tag === `v${version}`, 'tag', tag);
    const unreleased = entryOf(changelog, 'Unreleased')?.notes ?? '';
    check(unreleased === '', 'changelog', `under Unreleased: ${unreleased || 'nothing'}`);
  }
  const entry = entryOf(changelog, version);
  check(entry?.date !== undefined && entry.notes !== '', 'changelog', entry?.date ?? 'no entry');
  writeFileSync(path.join(out, 'notes.md'), `${entry?.notes ?? ''}\n`);
}

/** What the binary for this machine says of itself. */
function checkOwnBinary() {
  if (!ownPrebuild()?.file && !options.complete) passes('prebuild', 'npm', 'run', 'prebuild');
  const own = ownPrebuild();
  if (!own?.file) return;
  const info = ['node', 'dist/cli.js', 'info', '--json'];
  const text = output('binary', info, { env: { FLASH_ATTENTION_ADDON: own.file } });
  if (text === undefined) return;
  const { addon } = JSON.parse(text);
  check(
    addon.version === version,
    'binary',
    `${path.relative(root, own.file)} is of version ${addon.version}`,
  );
  if (own.name !== 'linux-x64 glibc') return;
  const there = sizesOf(gpuSection(own.file));
  const missing = architectures().filter((target) => !there.has(target));
  if (missing.length === 0) report('ok', 'CUDA', `code for ${[...there.keys()].join(', ')}`);
  else report(options.complete ? 'FAILED' : 'missing', 'CUDA', `no code for ${missing.join(', ')}`);
}

function checkPrebuilds() {
  for (const { name: platform, file, bytes } of findPrebuilds()) {
    if (file) report('ok', 'prebuilt', `${platform}: ${mib(bytes)}`);
    else report(options.complete ? 'FAILED' : 'missing', 'prebuilt', platform);
  }
  passes('binaries', 'node', 'scripts/check-binary.mjs');
}

/** Without scripts: what is packed is what was looked at above. */
function pack() {
  const command = ['npm', 'pack', '--ignore-scripts', '--json', '--pack-destination', out];
  const text = output('tarball', command);
  if (text === undefined) return;
  const [{ filename, size, unpackedSize, entryCount }] = JSON.parse(text);
  const tarball = path.join(out, filename);
  passes('package', 'node', 'scripts/check-package.mjs', tarball);
  addChecksum(tarball);
  const sizes = `${mib(size)}, unpacked ${mib(unpackedSize)}, ${entryCount} files`;
  const fits = size <= mostPacked && unpackedSize <= mostUnpacked;
  check(fits, 'tarball', `release/${filename}: ${sizes}`);
}

/** By the name alone: a release's files lie side by side. */
function addChecksum(tarball) {
  const sum = createHash('sha256').update(readFileSync(tarball)).digest('hex');
  appendFileSync(path.join(out, 'SHA256SUMS'), `${sum}  ${path.basename(tarball)}\n`);
  report('ok', 'checksum', sum);
}

/** The server, which follows the package's version. */
function packServer() {
  const { version: own } = json('serve/package.json');
  check(own === version, 'server', `version ${own}`);
  const build = ['node', 'scripts/ensure-built.mjs', '--serve'];
  if (output('server', build) === undefined) return;
  const to = path.join(out, 'serve');
  mkdirSync(to);
  const command = ['npm', 'pack', '--ignore-scripts', '--json', '--pack-destination', to];
  const text = packServe((cwd) => output('server', command, { cwd }));
  if (text === undefined) return;
  const [{ filename, size, entryCount }] = JSON.parse(text);
  addChecksum(path.join(to, filename));
  report('ok', 'server', `release/serve/${filename}: ${mib(size)}, ${entryCount} files`);
}

function billOfMaterials() {
  const how = ['--package-lock-only', '--omit', 'dev', '--sbom-format', 'spdx'];
  const text = output('SBOM', ['npm', 'sbom', ...how]);
  if (text === undefined) return;
  writeFileSync(path.join(out, 'sbom.spdx.json'), text);
  const packages = JSON.parse(text).packages.map((each) => `${each.name}@${each.versionInfo}`);
  report('ok', 'SBOM', packages.join(', '));
}

console.log(`${name} ${version}\n`);
rmSync(out, { recursive: true, force: true });
mkdirSync(out);
checkVersion();
for (const script of ['typecheck', 'lint', 'format:check']) {
  passes(script, 'npm', 'run', '--silent', script);
}
passes('build', 'npm', 'run', '--silent', 'build:ts');
checkOwnBinary();
checkPrebuilds();
if (options.tests) passes('tests', 'npm', 'test', '--silent', '--', '--ci');
pack();
packServer();
billOfMaterials();
console.log(failed > 0 ? `\n${failed} failed` : '\nNothing is published.');
process.exitCode = failed > 0 ? 1 : 0;
