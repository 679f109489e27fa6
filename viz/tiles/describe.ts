// A step in words, and the line of the loop that it is.
import type { Step } from '../../lib/reference/index.js';
import { count, span } from '../format.js';
import type { Algorithm } from '../model/algorithms.js';
import type { MachineState } from '../model/replay.js';
import { alongKeys, glyph } from '../model/names.js';

const list = (names: readonly string[]) => names.map(glyph).join(', ');

export function describeStep(step: Step | undefined): string {
  switch (step?.kind) {
    case 'load':
    case 'store': {
      const names = Object.keys(step.elements);
      const moved = Object.values(step.elements).reduce((sum, x) => sum + x, 0);
      const what = span(alongKeys.has(names[0]) ? 'key' : 'row', step.rows);
      const verb = step.kind === 'load' ? 'Load' : 'Store';
      return `${verb} ${list(names)}, ${what}: ${count(moved)} elements.`;
    }
    case 'compute': {
      const { queries, keys } = step.tile;
      const rows = span('row', queries);
      if (keys[1] > keys[0]) return `Compute ${rows} against ${span('key', keys)}.`;
      return `Finish ${rows}: ${list(Object.keys(step.values))}.`;
    }
    case 'skip': {
      const { queries, keys } = step.tile;
      return `Skip ${span('row', queries)} against ${span('key', keys)}: no pair is visible.`;
    }
    default:
      return 'Everything is in HBM. Press play, or step.';
  }
}

/** What the lines of an algorithm call a step. */
function nameOf({ name }: Algorithm, state: MachineState): string {
  const { last: step } = state;
  if (step === undefined) return '';
  if (step.kind === 'head' || step.kind === 'free') return '';
  if (step.kind === 'skip') return 'skip';
  const first = Object.keys(step.kind === 'compute' ? step.values : step.elements)[0];
  if (step.kind !== 'store') return `${step.kind}:${first}`;
  if (name === 'decoding') return state.hasFinished ? 'store:merged' : 'store:split';
  return state.tiles.length === 0 && (first === 'O' || 'delta' in step.elements)
    ? 'start'
    : `store:${first}`;
}

/** The line that the last step is; -1 for none. */
export function lineOf(algorithm: Algorithm, state: MachineState): number {
  const name = nameOf(algorithm, state);
  return algorithm.lines.findIndex(({ steps }) => steps.includes(name));
}
