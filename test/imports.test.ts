// The house has an order: who may import whom, no circle anywhere, one line length.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');

/** From the ground up: a room imports itself and the rooms before it. */
const libRooms = ['native', 'tensor', 'block-mask', 'attention', 'serving'];

/**
 * What each folder of csrc may include beside its own files. ptx is one half the GPU's instructions
 * and one half the executor's, chosen when it is compiled. Kernels of sm90 may build on those for
 * every GPU, sm80: latents are cut into the same blocks, and copied in the same way.
 */
const nativeRooms: Readonly<Record<string, readonly string[]>> = {
  core: [],
  'cpu/kernels': ['core'],
  cpu: ['core', 'cpu/kernels'],
  simt: ['core'],
  'cuda/ptx': ['core', 'simt'],
  'cuda/base': ['core', 'cuda/device'],
  'cuda/device': ['core', 'cuda/ptx'],
  'cuda/sm80': ['core', 'cuda/ptx', 'cuda/device'],
  'cuda/sm90': ['core', 'cuda/ptx', 'cuda/device', 'cuda/sm80'],
  'cuda/elementwise': ['core', 'cuda/ptx', 'cuda/base', 'cuda/device'],
  'cuda/sm90/host': [
    'core',
    'cuda/ptx',
    'cuda/base',
    'cuda/device',
    'cuda/sm90',
    'cuda/elementwise',
  ],
  'cuda/runtime': [
    'core',
    'cuda/ptx',
    'cuda/base',
    'cuda/device',
    'cuda/sm80',
    'cuda/sm90',
    'cuda/sm90/host',
    'cuda/elementwise',
  ],
  cuda: ['core', 'cuda/runtime'],
  binding: ['core', 'cpu', 'cuda/runtime'],
};

function filesIn(folder: string, ending: RegExp): string[] {
  return readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => ending.test(name))
    .map((name) => path.join(folder, name));
}

type Graph = ReadonlyMap<string, readonly string[]>;

/** The files that each file names, as far as they are files of the graph. */
function graphOf(files: readonly string[], named: (file: string, text: string) => string[]): Graph {
  const known = new Set(files);
  return new Map(
    files.map((file) => {
      const text = readFileSync(path.join(root, file), 'utf8');
      return [file, named(file, text).filter((name) => known.has(name))];
    }),
  );
}

const scripts = ['lib', 'viz', 'test', 'bench', 'scripts', 'examples'].flatMap((folder) =>
  filesIn(folder, /\.(ts|mjs|cjs)$/),
);
const modules = graphOf(scripts, (file, text) => {
  const found = text.matchAll(/(?:from|import|import\(|require\()\s*'(\.{1,2}\/[^']+)'/g);
  return Array.from(found, ([, name]) => {
    const target = path.join(path.dirname(file), name);
    const source = target.replace(/\.js$/, '.ts');
    return scripts.includes(source) ? source : target;
  });
});

const headers = ['csrc', 'test/native', 'test/simt', 'bench/native'].flatMap((folder) =>
  filesIn(folder, /\.(h|cpp|cc|cu)$/),
);
const includes = graphOf(headers, (file, text) =>
  Array.from(text.matchAll(/^#include "([^"]+)"/gm), ([, name]) => {
    const beside = path.join(path.dirname(file), name);
    return headers.includes(beside) ? beside : path.join('csrc', name);
  }),
);

/** A path that comes back to where it began, or undefined. */
function circle(graph: Graph): string[] | undefined {
  const done = new Set<string>();
  const walk = (file: string, above: readonly string[]): string[] | undefined => {
    const at = above.indexOf(file);
    if (at >= 0) return [...above.slice(at), file];
    if (done.has(file)) return undefined;
    for (const next of graph.get(file) ?? []) {
      const found = walk(next, [...above, file]);
      if (found) return found;
    }
    done.add(file);
    return undefined;
  };
  for (const file of graph.keys()) {
    const found = walk(file, []);
    if (found) return found;
  }
  return undefined;
}

/** Imports that go from a room into one it must not know, as `a -> b`. */
function strays(graph: Graph, mayKnow: (from: string, to: string) => boolean): string[] {
  return [...graph].flatMap(([file, targets]) =>
    targets.filter((target) => !mayKnow(file, target)).map((target) => `${file} -> ${target}`),
  );
}

const folder = (file: string, depth: number) => file.split(path.sep)[depth];

describe('imports', () => {
  it('the graphs hold the files they are about', () => {
    expect(modules.get('lib/attention/dense.ts')).toContain('lib/tensor/tensor.ts');
    expect(includes.get('csrc/core/validate.h')).toContain('csrc/core/attention.h');
  });

  it('a circle is found', () => {
    const graph = new Map([
      ['a', ['b']],
      ['b', ['c']],
      ['c', ['b']],
    ]);
    expect(circle(graph)).toEqual(['b', 'c', 'b']);
  });

  it('TypeScript and scripts: no circle, types included', () => {
    expect(circle(modules)).toBeUndefined();
  });

  it('C++ and CUDA: no circle', () => {
    expect(circle(includes)).toBeUndefined();
  });

  it('lib: native <- tensor <- block-mask <- attention <- serving', () => {
    const found = strays(modules, (from, to) => {
      const [room, other] = [from, to].map((file) => libRooms.indexOf(folder(file, 1)));
      if (folder(from, 0) !== 'lib' || room < 0) return true;
      return folder(to, 0) === 'lib' && other >= 0 && other <= room;
    });
    expect(found).toEqual([]);
  });

  it('lib knows nothing of tests, benchmarks and scripts', () => {
    const found = strays(modules, (from, to) => !from.startsWith('lib') || to.startsWith('lib'));
    expect(found).toEqual([]);
  });

  it('viz, which runs in a browser, knows the reference and block patterns, and no addon', () => {
    const types = ['lib/native/plan.ts', 'lib/native/chrome-trace.ts'];
    const known = ['lib/reference/', 'lib/block-mask/', ...types, 'viz/'];
    const found = strays(modules, (from, to) => {
      if (folder(from, 0) !== 'viz') return folder(to, 0) !== 'viz' || folder(from, 0) === 'test';
      return known.some((start) => to.startsWith(start));
    });
    expect(found).toEqual([]);
  });

  it('csrc: core <- cpu, cuda <- binding, and the rooms of cuda', () => {
    // What stands in for CUDA's own headers belongs to the executor, and what is written once for
    // each system to the room it is part of.
    const roomOf = (file: string) =>
      path
        .dirname(path.relative('csrc', file))
        .replace(/^(simt)\/include$|^(core)\/system$|^(binding)\/windows$/, '$1$2$3');
    const found = strays(includes, (from, to) => {
      if (folder(from, 0) !== 'csrc') return true;
      const [room, other] = [roomOf(from), roomOf(to)];
      return room === other || nativeRooms[room].includes(other);
    });
    expect(found).toEqual([]);
  });
});

describe('lines', () => {
  it('are at most 100 columns long: those of C++ and CUDA, and comments everywhere', () => {
    const isComment = /^\s*(\/\/|\/?\*)(?! \|)/; // but for the rows of a table
    const long = [...scripts, ...headers].flatMap((file) =>
      readFileSync(path.join(root, file), 'utf8')
        .split('\n')
        .map((text, at) => ({ text, where: `${file}:${at + 1}` }))
        .filter(({ text }) => text.length > 100)
        .filter(({ text }) => headers.includes(file) || isComment.test(text))
        .map(({ where }) => where),
    );
    expect(long).toEqual([]);
  });
});
