// Bun's build for musl needs a libstdc++, which no package of Debian has for musl. The few
// functions it asks for are taken from g++'s static library, made for glibc: they call little
// else.
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { cacheFolder } from './tools.mjs';

/** What those functions want of glibc and musl does not have. None is called for real. */
const stubs = `
#include <pthread.h>
#include <stdlib.h>
__attribute__((visibility("hidden"))) void *__dso_handle = &__dso_handle;
char __libc_single_threaded = 0;
unsigned arc4random(void) { abort(); }
int _dl_find_object(void *address, void *result) { return -1; }
int __pthread_key_create(pthread_key_t *key, void (*destroy)(void *)) {
  return pthread_key_create(key, destroy);
}
`;

const output = (command, ...args) =>
  execFileSync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 28 });

/** The symbols that `program` takes from its libraries, copied data among them. */
function symbolsWanted(program) {
  const undefinedOnes = output('nm', '--dynamic', '--undefined-only', program)
    .split('\n')
    .filter((line) => /^\s+U /.test(line))
    .map((line) => line.trim().split(' ')[1]);
  const copied = output('readelf', '--wide', '--relocs', program)
    .split('\n')
    .filter((line) => line.includes('_COPY'))
    .map((line) => line.trim().split(/\s+/)[4]);
  return [...undefinedOnes, ...copied].map((name) => name.split('@')[0]);
}

const symbolsOf = (library) =>
  new Set(
    output('nm', '--dynamic', '--defined-only', library)
      .split('\n')
      .map((line) => line.split(' ').at(-1).split('@')[0]),
  );

/** A folder with a libstdc++.so.6 that is enough for `program`. */
export function muslLibstdcxx(program, loader) {
  const folder = cacheFolder('musl-libstdcxx');
  const library = path.join(folder, 'libstdc++.so.6');
  if (existsSync(library)) return folder;
  const inMusl = symbolsOf(loader);
  const wanted = symbolsWanted(program).filter((name) => !inMusl.has(name));
  const source = path.join(folder, 'stubs.c');
  writeFileSync(source, stubs);
  const archives = ['libstdc++.a', 'libgcc_eh.a', 'libgcc.a'].map((name) =>
    output('g++', `-print-file-name=${name}`).trim(),
  );
  execFileSync('gcc', [
    ...['-shared', '-nostdlib', '-fPIC', '-Wl,-soname,libstdc++.so.6', '-Wl,--gc-sections'],
    ...wanted.map((name) => `-Wl,-u,${name}`),
    ...['-o', library, source, ...archives],
  ]);
  return folder;
}
