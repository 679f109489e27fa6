// The matrix of pairs: what was done, what is hidden, skipped, at work, and what lies in HBM.
import type { Named, Tile } from '../../lib/reference/index.js';
import type { MachineState } from '../model/replay.js';
import type { Palette } from '../palette.js';
import type { Brush } from './brush.js';
import type { Box } from './geometry.js';
import type { Scene } from './scene.js';

/** Draws the matrix in its box. */
export class MatrixPicture {
  constructor(
    private readonly brush: Brush,
    private readonly colors: Palette,
    private readonly matrix: Box,
    private readonly scene: Scene,
    private readonly state: MachineState,
  ) {}

  draw(): void {
    const { colors, state, scene, matrix } = this;
    const { seqlenK } = scene.run.problem.shape;
    this.brush.fill(matrix, colors.card);
    const isStandard = scene.run.algorithm.name === 'standard';
    const done = state.tiles.filter(({ isSkipped }) => !isSkipped);
    if (!isStandard) for (const tile of done) this.brush.fill(this.boxOf(tile), colors.wash);
    (state.kept.get('S') ?? []).forEach((row, i) => {
      this.drawScores([row], i, 0, 0.45);
    });
    (state.kept.get('P') ?? []).forEach((row, i) => {
      this.brush.fill(this.boxOf({ queries: [i, i + 1], keys: [0, seqlenK] }), colors.card);
      this.drawProbabilities([row], i, 0);
    });
    this.drawHidden();
    const skipped = state.tiles.filter(({ isSkipped }) => isSkipped);
    for (const tile of skipped) this.brush.hatch(this.boxOf(tile), colors.soft);
    this.drawGrid();
    this.drawActive();
    this.brush.outline(matrix, colors.line, 1);
  }

  private drawHidden(): void {
    this.scene.visible.forEach((row, i) => {
      for (let j = 0; j < row.length; j++) {
        if (row[j]) continue;
        let end = j;
        while (end < row.length && !row[end]) end++;
        this.brush.fill(this.boxOf({ queries: [i, i + 1], keys: [j, end] }), this.colors.hidden);
        j = end;
      }
    });
  }

  private drawGrid(): void {
    const { colors, matrix } = this;
    const { context } = this.brush;
    context.strokeStyle = colors.line;
    context.lineWidth = 1;
    context.beginPath();
    for (const i of this.scene.cuts.queries) {
      const y = Math.round(this.pair(i, 0).y) + 0.5;
      context.moveTo(matrix.x, y);
      context.lineTo(matrix.x + matrix.width, y);
    }
    for (const j of this.scene.cuts.keys) {
      const x = Math.round(this.pair(0, j).x) + 0.5;
      context.moveTo(x, matrix.y);
      context.lineTo(x, matrix.y + matrix.height);
    }
    context.stroke();
  }

  private drawActive(): void {
    const { active, last } = this.state;
    if (active && active.tile.keys[1] > active.tile.keys[0]) {
      const { tile, values } = active;
      const box = this.boxOf(tile);
      this.brush.fill(box, this.colors.card);
      this.drawTile(tile, values);
      this.brush.outline(box, this.colors.active, 2);
    } else if (last?.kind === 'skip') {
      this.brush.outline(this.boxOf(last.tile), this.colors.active, 2, [4, 3]);
    }
  }

  private drawTile({ queries, keys }: Tile, values: Named): void {
    const P = values.P as Float64Array[] | undefined;
    const S = values.S as Float64Array[] | undefined;
    if (P) this.drawProbabilities(P, queries[0], keys[0]);
    else if (S) this.drawScores(S, queries[0], keys[0], 1, values.m as Float64Array | undefined);
    else {
      const kept = this.state.kept.get('P')?.[queries[0]];
      if (kept) this.drawProbabilities([kept], queries[0], 0);
    }
  }

  /** Each score as the root of e^(s - m): most are small. m is the maximum so far, or the row's. */
  private drawScores(
    S: readonly Float64Array[],
    i0: number,
    j0: number,
    alpha: number,
    m?: Float64Array,
  ): void {
    S.forEach((row, r) => {
      const most = m?.[r] ?? row.reduce((a, b) => Math.max(a, b), -Infinity);
      row.forEach((s, c) => {
        this.drawPair(i0 + r, j0 + c, s === -Infinity ? 0 : Math.exp((s - most) / 2), alpha);
      });
    });
  }

  /** Each probability as the root of its share of the largest in the row. */
  private drawProbabilities(P: readonly Float64Array[], i0: number, j0: number): void {
    P.forEach((row, r) => {
      const most = row.reduce((a, b) => Math.max(a, b), 0) || 1;
      row.forEach((p, c) => {
        this.drawPair(i0 + r, j0 + c, Math.sqrt(p / most), 1);
      });
    });
  }

  private drawPair(i: number, j: number, strength: number, alpha: number): void {
    if (this.scene.visible[i][j]) {
      this.brush.fill(this.pair(i, j), this.colors.s, (0.06 + 0.94 * strength) * alpha);
    } else this.brush.fill(this.pair(i, j), this.colors.hidden);
  }

  /** Where the pairs of a tile lie. */
  boxOf({ queries, keys }: Tile): Box {
    const { matrix } = this;
    const { seqlenQ, seqlenK } = this.scene.run.problem.shape;
    const [width, height] = [matrix.width / seqlenK, matrix.height / seqlenQ];
    return {
      x: matrix.x + keys[0] * width,
      y: matrix.y + queries[0] * height,
      width: (keys[1] - keys[0]) * width,
      height: (queries[1] - queries[0]) * height,
    };
  }

  /** Where a pair lies. */
  private pair(i: number, j: number): Box {
    return this.boxOf({ queries: [i, i + 1], keys: [j, j + 1] });
  }
}
