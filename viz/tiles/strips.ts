// Data along a side of the matrix, component by component.
import { range } from '../../lib/reference/layout.js';
import { colorOf, glyph } from '../model/names.js';
import type { MachineState } from '../model/replay.js';
import type { Palette } from '../palette.js';
import type { Brush } from './brush.js';
import type { Box, Strip } from './geometry.js';
import { isInput, rangeOf, rowOf } from './operands.js';
import type { Scene } from './scene.js';

/** What is in SRAM is strong and outlined, what is in HBM is pale, what is not known is blank. */
export function drawStrip(
  brush: Brush,
  colors: Palette,
  strip: Strip,
  { run }: Scene,
  state: MachineState,
): void {
  const { name, along, box, label } = strip;
  const color = colors[colorOf[name]];
  const { seqlenQ, seqlenK } = run.problem.shape;
  const count = along === 'queries' ? seqlenQ : seqlenK;
  const rows = range(count).map((r) => rowOf(run, state, name, r));
  const [least, largest] = rangeOf(rows);
  const resident = state.sram.get(name);
  brush.fill(box, colors.card);
  rows.forEach((row, r) => {
    if (row === undefined) return;
    const isInside = resident && r >= resident.rows[0] && r < resident.rows[1];
    const values = typeof row === 'number' ? [row] : row;
    const strong = isInside ? 1 : isInput(name) ? 0.3 : 0.5;
    values.forEach((x, c) => {
      if (!Number.isFinite(x)) return;
      const strength = largest > least ? (x - least) / (largest - least) : 1;
      const cell = cellOf(box, along, r, count, c, values.length);
      brush.fill(cell, color, (0.14 + 0.86 * strength) * strong);
    });
  });
  brush.outline(box, colors.line, 1);
  if (resident && resident.rows[1] > resident.rows[0]) {
    const [begin, end] = resident.rows;
    brush.outline(spanOf(box, along, begin, end, count), color, 2.5);
  }
  brush.text(glyph(name), label.x, label.y, label.align, color);
}

/** Rows `begin` to `end - 1` of a strip. */
function spanOf(
  box: Box,
  along: 'queries' | 'keys',
  begin: number,
  end: number,
  count: number,
): Box {
  if (along === 'queries') {
    const cell = box.height / count;
    return { ...box, y: box.y + begin * cell, height: (end - begin) * cell };
  }
  const cell = box.width / count;
  return { ...box, x: box.x + begin * cell, width: (end - begin) * cell };
}

/** Component c of row r. */
function cellOf(
  box: Box,
  along: 'queries' | 'keys',
  r: number,
  count: number,
  c: number,
  components: number,
): Box {
  const span = spanOf(box, along, r, r + 1, count);
  if (along === 'queries') {
    const width = box.width / components;
    return { ...span, x: box.x + c * width, width };
  }
  const height = box.height / components;
  return { ...span, y: box.y + c * height, height };
}
