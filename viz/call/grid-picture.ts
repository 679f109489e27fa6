// Draws the tiles that a kernel visits.
import type { Plan } from '../../lib/native/plan.js';
import { h } from '../dom.js';
import type { CallGrid, TileState } from '../model/call-grid.js';
import { type Palette, readPalette } from '../palette.js';

const largest = 640;
/** Lines between more bands than this would hide the tiles. */
const mostLines = 96;

/** The canvas of one kv head's tiles, rows of queries by columns of keys. */
export function gridPicture(grid: CallGrid, plan: Plan, available: number): HTMLCanvasElement {
  const { rows, cols } = grid;
  const width = Math.min(available, largest);
  const cell = width / cols;
  const height = Math.min(
    Math.max((rows * width) / Math.max(rows, cols), rows * Math.min(cell, 24), 48),
    largest,
  );
  const density = Math.max(devicePixelRatio, 2);
  const canvas = h('canvas', {
    role: 'img',
    'aria-label': describe(grid),
    width: width * density,
    height: height * density,
    style: `width:${width}px;height:${height}px`,
  });
  const context = canvas.getContext('2d') as CanvasRenderingContext2D;
  context.scale(density, density);
  const colors = readPalette();
  drawTiles(context, grid, colors, width, height);
  drawBands(context, grid, plan, colors, width, height);
  return canvas;
}

function describe({ rows, cols, counts, planes }: CallGrid): string {
  const of = (state: TileState) => `${counts[state] / planes} ${state}`;
  return `${rows} by ${cols} tiles of one kv head: ${of('full')}, ${of('partial')}, ${of('skipped')}.`;
}

const strength: Readonly<Record<TileState, number>> = { full: 0.85, partial: 0.4, skipped: 0 };

/** Where there are more tiles than pixels, a pixel shows the tile in its middle. */
function drawTiles(
  context: CanvasRenderingContext2D,
  grid: CallGrid,
  colors: Palette,
  width: number,
  height: number,
): void {
  const down = Math.min(grid.rows, Math.floor(height));
  const across = Math.min(grid.cols, Math.floor(width));
  context.fillStyle = colors.card;
  context.fillRect(0, 0, width, height);
  const space = across < width / 4 && down < height / 4 ? 1 : 0;
  for (let y = 0; y < down; y++) {
    for (let x = 0; x < across; x++) {
      const row = Math.floor(((y + 0.5) * grid.rows) / down);
      const col = Math.floor(((x + 0.5) * grid.cols) / across);
      const state = grid.state(row, col);
      const [w, t] = [width / across, height / down];
      context.globalAlpha = strength[state];
      context.fillStyle = state === 'partial' ? colors.k : colors.q;
      context.fillRect(x * w, y * t, w - space, t - space);
    }
  }
  context.globalAlpha = 1;
  context.strokeStyle = colors.line;
  context.strokeRect(0.5, 0.5, width - 1, height - 1);
}

/** Work items one below the other, splits side by side. */
function drawBands(
  context: CanvasRenderingContext2D,
  grid: CallGrid,
  { panels, numSplits }: Plan,
  colors: Palette,
  width: number,
  height: number,
): void {
  context.strokeStyle = colors.ink;
  context.lineWidth = 1;
  context.globalAlpha = 0.5;
  context.beginPath();
  const bands = Math.ceil(grid.rows / panels);
  for (let band = 1; band < bands && bands <= mostLines; band++) {
    const y = Math.round((band * panels * height) / grid.rows) + 0.5;
    context.moveTo(0, y);
    context.lineTo(width, y);
  }
  context.stroke();
  if (numSplits === 1) return;
  context.globalAlpha = 1;
  context.lineWidth = 2;
  context.beginPath();
  for (let row = 0; row < grid.rows; row++) {
    for (const col of grid.splitsOf(row).slice(1)) {
      const x = (col * width) / grid.cols;
      context.moveTo(x, (row * height) / grid.rows);
      context.lineTo(x, ((row + 1) * height) / grid.rows);
    }
  }
  context.stroke();
}
