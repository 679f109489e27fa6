// What it costs to load a binary of the addon: milliseconds and resident memory, each the median of
// fresh processes that take turns, and what the first call of `devices()` adds, which looks for
// GPUs.
//
//   node scripts/measure-load.mjs a.node b.node ...
import { execFileSync } from 'node:child_process';
import path from 'node:path';

const runs = 21;

const program = `
  const { readFileSync } = require('node:fs');
  const resident = () => Number(/VmRSS:\\s+(\\d+)/.exec(readFileSync('/proc/self/status'))[1]);
  resident();
  const measure = (work) => {
    const [bytes, begin] = [resident(), performance.now()];
    work();
    return [performance.now() - begin, resident() - bytes];
  };
  let addon;
  const load = measure(() => { addon = require(process.argv[1]); });
  const devices = measure(() => addon.devices());
  console.log(JSON.stringify([...load, ...devices]));
`;

const files = process.argv.slice(2).map((file) => path.resolve(file));
const found = new Map(files.map((file) => [file, []]));
for (let i = 0; i < runs; i++) {
  for (const file of files) {
    const text = execFileSync(process.execPath, ['-e', program, file], { encoding: 'utf8' });
    found.get(file).push(JSON.parse(text));
  }
}
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
for (const [file, samples] of found) {
  const [ms, kib, devicesMs, devicesKib] = samples[0].map((_, i) =>
    median(samples.map((s) => s[i])),
  );
  console.log(
    `${file}: load ${ms.toFixed(1)} ms, ${kib} KiB; ` +
      `devices() ${devicesMs.toFixed(1)} ms, ${devicesKib} KiB`,
  );
}
