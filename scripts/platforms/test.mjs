// Runs the binaries that `npm run prebuild:cross` left in prebuilds/, as far as an emulator can,
// and writes what came of it into docs/platforms.md.
//
//   npm run test:platforms -- [--install] [target ...]        (see targets.mjs; all by default)
//
// On each: test/native/harness.cjs, which calls every function. Then `doctor`, which compares
// attention in each dtype with float64, or on ARM64 some of the real tests. Exit status 77 when
// nothing could be run.
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ensureBuilt, root, skipped } from '../ensure-built.mjs';
import { recordResults } from './record.mjs';
import { runners } from './runners.mjs';
import { chosenTargets, prebuiltFile, targets } from './targets.mjs';
import { installHint, missingPackages } from './tools.mjs';

const minutesOfScript = 40;
const log = path.join(tmpdir(), `flash-attention-platform-${process.pid}.log`);

const harness = { name: 'every function', args: ['--expose-gc', 'test/native/harness.cjs'] };
const doctor = { name: 'doctor', args: ['dist/cli.js', 'doctor'] };
const tests = (names) => ({
  name: `tests ${names.join(', ')}`,
  args: [
    ...['--disable-warning=ExperimentalWarning', '--experimental-vm-modules'],
    ...[
      'node_modules/jest/bin/jest.js',
      '--runInBand',
      '--ci',
      `--testTimeout=${minutesOfScript * 60_000}`,
    ],
    ...names.map((name) => `test/${name}.test.ts`),
  ],
});

/** Whether the script ended well. What it prints goes through a file: Wine's Node has no pipes. */
function runs(target, { name, args }, { command, env }) {
  console.log(`\n── ${target}, ${name}`);
  const [program, ...before] = command;
  const out = openSync(log, 'w');
  const { status, signal } = spawnSync(program, [...before, ...args], {
    cwd: root,
    env: { ...process.env, ...env, FLASH_ATTENTION_ADDON: prebuiltFile(targets[target]) },
    stdio: ['ignore', out, out],
    timeout: minutesOfScript * 60_000,
  });
  closeSync(out);
  console.log(readFileSync(log, 'utf8').trimEnd());
  if (status !== 0) console.error(`${target}, ${name}: failed with ${signal ?? status}`);
  return status === 0;
}

/** What docs/platforms.md says of a target; undefined where nothing can be said. */
function test(target) {
  if (!existsSync(prebuiltFile(targets[target]))) {
    console.log(`${target}: not built (npm run prebuild:cross -- ${target})`);
    return undefined;
  }
  const { size } = statSync(prebuiltFile(targets[target]));
  const runner = runners[target];
  if (runner === undefined) {
    console.log(`${target}: compiled only, nothing runs it here`);
    return { target, size, ran: false, result: 'compiled only' };
  }
  const missing = missingPackages(runner.packages);
  if (missing.length > 0) {
    console.log(`${target}: its emulator is missing.\n  ${installHint(missing)}`);
    return undefined;
  }
  const prepared = runner.prepare();
  const scripts = [
    harness,
    ...(runner.doctor ? [doctor] : []),
    ...(runner.jest ? [tests(runner.jest)] : []),
  ];
  const failed = scripts.filter((script) => !runs(target, script, prepared));
  const names = (list) => list.map(({ name }) => name).join('; ');
  const verdict = failed.length > 0 ? `failed: ${names(failed)}` : `right: ${names(scripts)}`;
  return {
    target,
    size,
    ran: true,
    ok: failed.length === 0,
    result: `${runner.runtime}, ${verdict}`,
  };
}

ensureBuilt();
const results = chosenTargets(process.argv.slice(2)).map(test).filter(Boolean);
recordResults(results);
for (const { target, result } of results) console.log(`${target}: ${result}`);
const ran = results.filter((result) => result.ran);
process.exitCode = ran.length === 0 ? skipped : ran.every(({ ok }) => ok) ? 0 : 1;
