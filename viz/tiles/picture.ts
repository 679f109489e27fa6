import type { MachineState } from '../model/replay.js';
import type { Palette } from '../palette.js';
import { Brush } from './brush.js';
import type { Geometry } from './geometry.js';
import { MatrixPicture } from './matrix.js';
import type { Scene } from './scene.js';
import { drawStrip } from './strips.js';

/** What is drawn: a scene, the machine's state in it, and the chosen query. */
export interface Shot {
  readonly scene: Scene;
  readonly state: MachineState;
  readonly row: number;
}

/** Draws the state of the machine: which pairs are at work, what is in SRAM, what is known. */
export function drawPicture(
  context: CanvasRenderingContext2D,
  colors: Palette,
  geometry: Geometry,
  { scene, state, row }: Shot,
): void {
  const brush = new Brush(context);
  context.clearRect(0, 0, geometry.width, geometry.height);
  const matrix = new MatrixPicture(brush, colors, geometry.matrix, scene, state);
  matrix.draw();
  for (const strip of geometry.strips) drawStrip(brush, colors, strip, scene, state);
  const { y, height } = matrix.boxOf({ queries: [row, row + 1], keys: [0, 1] });
  drawChosenRow(brush, colors, geometry, y, height);
}

/** A frame around the row, through all that lies beside it, and a mark that points to it. */
function drawChosenRow(
  brush: Brush,
  colors: Palette,
  { strips }: Geometry,
  y: number,
  height: number,
): void {
  const { context } = brush;
  const right = Math.max(...strips.map(({ box }) => box.x + box.width));
  const left = Math.min(...strips.map(({ box }) => box.x));
  const frame = { x: left - 2.5, y, width: right - left + 5, height: Math.max(height, 3) };
  context.globalAlpha = 0.75;
  brush.outline(frame, colors.ink, 1);
  context.globalAlpha = 1;
  context.fillStyle = colors.ink;
  context.beginPath();
  const middle = y + height / 2;
  context.moveTo(left - 5, middle);
  context.lineTo(left - 12, middle - 5);
  context.lineTo(left - 12, middle + 5);
  context.fill();
}
