// Compiles CUDA sources by nvcc and tells what ptxas makes of each kernel: registers, shared
// memory, stack, spills and the occupancy that follows. docs/kernel-resources.md has the tables,
// and of each source what it was made from; docs/kernels.md has how many warps an SM holds.
//
//   node scripts/ptxas-report.mjs [--all] [--write]
//
// Compiles the sources that have changed since, with --all every one. Fails when a table is not
// what the same compiler says now, and when there is no nvcc to find out; --write puts it right.
// Fails also when a plain kernel (one without the options that cost registers) spills, also where
// it is made of PTX for later GPUs, which the tables leave out; on advice C75xx of ptxas: that it
// serialises wgmma or ignores setmaxnreg; and when ptxas lets a softmax wait for the products that
// it should run beside.
import { parseArgs } from 'node:util';
import { compile, compilerVersion } from './ptxas/compile.mjs';
import { occupancyOnPage, occupancyTable } from './ptxas/occupancy.mjs';
import { readPage, tableOf, writePage } from './ptxas/page.mjs';
import {
  demangle,
  isPlain,
  laterGpus,
  parsePtxas,
  shortName,
  wgmmaAdvice,
} from './ptxas/parse.mjs';
import { overlaps } from './ptxas/schedule.mjs';
import { hashOf, sources } from './ptxas/sources.mjs';
import { tiles } from './ptxas/tiles.mjs';

const { values: options } = parseArgs({
  options: {
    all: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});

/** The kernels of one source, by name: what each target has of them. */
function kernelsOf(log, known) {
  const found = parsePtxas(log);
  if (found.length === 0) return [];
  const names = demangle(found.map(({ symbol }) => symbol)).map(shortName);
  const kernels = new Map();
  found.forEach((one, i) => {
    const name = names[i];
    const tile = known.get(name);
    const shared = one.staticShared + (tile?.shared ?? 0);
    const each = kernels.get(name) ?? { name, tile, targets: {} };
    each.targets[one.arch] = { ...one, shared, threads: tile?.threads };
    kernels.set(name, each);
  });
  return [...kernels.values()].sort((a, b) =>
    a.name.localeCompare(b.name, 'en', { numeric: true }),
  );
}

/** What is wrong with the kernels of a source, whatever the table says. */
function faultsOf(source, kernels, { log, objects }) {
  const spilling = kernels.flatMap(({ name, targets }) =>
    Object.entries(targets)
      .filter(([, { spills }]) => spills > 0 && isPlain(name))
      .map(([arch, { spills }]) => `${name} spills ${spills} bytes on ${arch}`),
  );
  return [...spilling, ...wgmmaAdvice(log), ...scheduleFaults(source, objects)];
}

/** What ptxas makes of a source's PTX, in a line for each of the GPUs that run it. */
function describeLater(source, kernels) {
  for (const arch of laterGpus) {
    const here = kernels.filter(({ targets }) => arch in targets);
    const spilling = here.filter(({ targets }) => targets[arch].spills > 0).length;
    if (here.length > 0)
      console.log(
        `${source}: PTX of ${here.length} kernels for ${arch}, ${spilling} of which spill`,
      );
  }
}

/** What is wrong with the order of waits and exponentials in the machine code of sm_90a. */
function scheduleFaults(source, objects) {
  if (!/^csrc\/cuda\/sm90\/(forward|backward)\.cu$/.test(source)) return [];
  const all = overlaps(objects);
  const late = all.filter(([, { after }]) => after > 0).map(([symbol]) => symbol);
  const names = late.length > 0 ? demangle(late).map(shortName) : [];
  const faults = names.map((name) => `${name} waits for products before its exponentials`);
  const beside = all.filter(([, { beside }]) => beside > 0).length;
  console.log(`${source}: ${beside} kernels compute exponentials beside products`);
  // The forward kernels all do; those of the backward pass have other schedules.
  if (beside === 0 && source.includes('forward')) faults.push(`${source}: no such kernel`);
  return faults;
}

const page = readPage();
const compiler = compilerVersion();
const renew = options.all || (options.write && page.compiler !== compiler);
const stale = sources.filter(
  (source) => renew || page.sources.get(source)?.hash !== hashOf(source),
);
const gone = [...page.sources.keys()].filter((source) => !sources.includes(source));
console.log(`${sources.length - stale.length} of ${sources.length} sources are as in the table`);

const failures = options.write
  ? []
  : gone.map((source) => `docs/kernel-resources.md has ${source}, which is gone`);
const tables = new Map();
const known = tiles();
if (stale.length > 0 && compiler === undefined) {
  failures.push(...stale.map((source) => `${source} has changed, and there is no nvcc`));
} else if (stale.length > 0) {
  for (const [source, result] of await compile(stale)) {
    if (!result.ok) {
      failures.push(`${source} does not compile`);
      continue;
    }
    const kernels = source.startsWith('csrc/') ? kernelsOf(result.log, known) : [];
    const table = kernels.length > 0 ? tableOf(kernels) : 'No kernels.';
    tables.set(source, { hash: hashOf(source), table });
    console.log(`\n${source}\n${table}`);
    describeLater(source, kernels);
    failures.push(...faultsOf(source, kernels, result));
    const comparable = page.compiler === compiler && !options.write;
    if (comparable && page.sources.get(source)?.table !== table) {
      failures.push(`docs/kernel-resources.md is stale: ${source} uses something else now`);
    }
  }
}
const entries = new Map(
  sources
    .map((source) => [source, (options.write && tables.get(source)) || page.sources.get(source)])
    .filter(([, entry]) => entry !== undefined),
);
const occupancy = occupancyTable(entries, known);
if (options.write) {
  writePage({ compiler: compiler ?? page.compiler, sources: entries });
  occupancyOnPage(occupancy);
} else if (occupancyOnPage() !== occupancy) {
  failures.push('docs/kernels.md has another table of occupancy than docs/kernel-resources.md');
}
for (const failure of failures) console.error(`FAILED ${failure}`);
if (failures.length > 0) console.error('npm run report:ptxas -- --write renews the tables');
process.exitCode = failures.length > 0 ? 1 : 0;
