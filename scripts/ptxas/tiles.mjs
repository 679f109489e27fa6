// What the tables of tiles say of the tiled kernels, which ptxas cannot know.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { run } from '../ensure-built.mjs';

/** Rows and keys of a tile, threads and dynamic shared memory of a block, by name of the kernel. */
export function tiles() {
  const scratch = mkdtempSync(path.join(tmpdir(), 'flash-attention-tiles-'));
  const program = path.join(scratch, 'tiles');
  const source = ['-std=c++20', '-Icsrc', 'scripts/ptxas/tiles.cc', '-o', program];
  run(process.env.CXX ?? 'c++', source);
  const lines = execFileSync(program, { encoding: 'utf8' }).trimEnd().split('\n');
  rmSync(scratch, { recursive: true });
  return new Map(lines.map((line) => JSON.parse(line)).map((tile) => [tile.kernel, tile]));
}
