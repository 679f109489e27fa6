// What binutils' readelf says of a shared library of Linux, for whatever processor.
import { execFileSync } from 'node:child_process';

const readelf = (...args) =>
  execFileSync('readelf', ['--wide', ...args], { encoding: 'utf8', maxBuffer: 2 ** 26 });

export function readElf(file) {
  const dynamic = readelf('--dynamic', file);
  // Num: Value Size Type Bind Vis Ndx Name[@version]
  const symbols = readelf('--dyn-syms', file)
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(
      ([number, , , type, , , , name]) => /^\d+:$/.test(number) && type !== 'SECTION' && name,
    );
  const named = (wanted) =>
    symbols.filter(([, , , , , , index]) => wanted(index)).map((fields) => fields[7]);
  return {
    machine: /Machine:\s*(.+)/.exec(readelf('--file-header', file))?.[1],
    libraries: [...dynamic.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map(([, name]) => name),
    exports: named((index) => index !== 'UND'),
    imports: named((index) => index === 'UND'),
    runPath: /\((RPATH|RUNPATH)\)/.test(dynamic),
    staysLoaded: /\(FLAGS_1\).*NODELETE/.test(dynamic),
  };
}
