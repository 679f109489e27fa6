#!/usr/bin/env node
'use strict';
// The one place that starts the native build: npm scripts, prebuildify and `flash-attention build`
// all end here. Also part of the published package, so it uses nothing but
// Node and says what to install when something is missing.
//
//   node scripts/cmake-build.cjs [Release|Debug] [--out <folder>] [-D<option>=<value> ...]
//
// prebuildify calls it in place of node-gyp (`rebuild --release ...`): that needs neither Python
// nor the headers of a Node version, which Node-API addons do not use. What it makes is for other
// machines: with CUDA where there is nvcc, driver or not. That takes minutes, so its object files
// have a folder of their own, which a build without CUDA leaves alone.
const { spawnSync } = require('node:child_process');
const { mkdirSync, utimesSync, writeFileSync } = require('node:fs');
const { availableParallelism } = require('node:os');
const path = require('node:path');

const root = path.resolve(__dirname, '..');

/** A command that answers `--version`, or undefined. */
function firstThatRuns(commands) {
  return commands.filter(Boolean).find((command) => {
    const [file, ...args] = command.split(/\s+/);
    return spawnSync(file, [...args, '--version'], { stdio: 'ignore' }).status === 0;
  });
}

/** What is not installed of the things a build needs, each with its packages. */
function missingTools() {
  const needs = [
    { tool: 'CMake', commands: ['cmake'], debian: 'cmake', fedora: 'cmake' },
    {
      tool: process.env.CXX ? `the C++ compiler CXX names (${process.env.CXX})` : 'a C++ compiler',
      commands: process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++'],
      debian: 'g++',
      fedora: 'gcc-c++ libstdc++-static',
    },
    { tool: 'make (or ninja)', commands: ['ninja', 'make'], debian: 'make', fedora: 'make' },
  ];
  return needs.filter(({ commands }) => !firstThatRuns(commands));
}

function explainMissingTools(missing) {
  const list = (key) => missing.map((need) => need[key]).join(' ');
  return [
    `flash-attention cannot be compiled: ${missing.map(({ tool }) => tool).join(', ')} not found.`,
    `  Debian, Ubuntu:  sudo apt-get install ${list('debian')}`,
    `  Fedora, RHEL:    sudo dnf install ${list('fedora')}`,
  ].join('\n');
}

/** Folders of the npm packages the build uses; a published package does not depend on them. */
function buildPackages() {
  const { devDependencies } = require('../package.json');
  const names = ['cmake-js', 'node-addon-api', 'node-api-headers'];
  const folders = {};
  const missing = [];
  for (const name of names) {
    try {
      // From the working directory too: npx keeps this package in a folder of its own.
      const paths = [root, process.cwd()];
      folders[name] = path.dirname(require.resolve(`${name}/package.json`, { paths }));
    } catch {
      missing.push(`${name}@${devDependencies[name]}`);
    }
  }
  if (missing.length > 0) {
    const install = `npm install --save-dev ${missing.join(' ')}`;
    throw new Error(
      `flash-attention cannot be compiled without its build packages. Run:\n  ${install}`,
    );
  }
  return folders;
}

/**
 * Configures and builds. Throws an Error whose message says what to install when something is
 * missing, and returns the exit status of CMake otherwise.
 */
function build({ config = 'Release', out, defines = [] } = {}) {
  const missing = missingTools();
  if (missing.length > 0) throw new Error(explainMissingTools(missing));
  const folders = buildPackages();
  const { include_dir: nodeApi } = require(folders['node-api-headers']);
  // Outside build/, which node-gyp deletes on every rebuild: keeps the object files for the next
  // run.
  const folder = path.resolve(out ?? path.join(root, 'build-cmake', config));
  const options = [`-DNODE_API_INCLUDE_DIRS=${nodeApi};${folders['node-addon-api']}`, ...defines];
  const cli = path.join(folders['cmake-js'], 'bin', 'cmake-js');
  const started = new Date();
  // cmake-js's own `build` would reuse an old cache and ignore changed options.
  for (const command of ['configure', 'build']) {
    const args = [cli, command, '--out', folder, '--config', config, '--log-level', 'warn'];
    args.push('--parallel', String(availableParallelism()));
    for (const option of options) args.push(option.replace(/^-D/, '--CD'));
    const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
    if (status !== 0) return status ?? 1;
  }
  // Sources changed after this moment are not in the binary (see ensure-built.mjs).
  const stamp = path.join(folder, 'built');
  mkdirSync(folder, { recursive: true });
  writeFileSync(stamp, '');
  utimesSync(stamp, started, started);
  return 0;
}

/** Where the prebuilt binary has CUDA, and what decides that: see cmake/cuda.cmake. */
function cudaOfPrebuild() {
  return process.platform === 'linux' && process.arch === 'x64' ? 'nvcc' : 'off';
}

function parseArguments(args) {
  const out = args.includes('--out') ? args[args.indexOf('--out') + 1] : undefined;
  const debug = args.includes('Debug') || args.includes('--debug');
  const defines = args.filter((arg) => arg.startsWith('-D'));
  return { config: debug ? 'Debug' : 'Release', out, defines };
}

module.exports = { build, missingTools, explainMissingTools };

if (require.main === module) {
  const options = parseArguments(process.argv.slice(2));
  if (process.argv[2] === 'rebuild') {
    process.env.FLASH_ATTENTION_CUDA ||= cudaOfPrebuild();
    options.out = path.join(root, 'build-cmake/prebuild');
  }
  try {
    process.exitCode = build(options);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
