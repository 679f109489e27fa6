import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type CutModel, cutModel } from '../cutter/cut.js';
import type { ModelInfo } from '../engine/contract.js';
import { decodeModel, int64, type OnnxModel } from '../onnx/format.js';
import { missingData } from '../onnx/tensors.js';
import { ModelError } from './model-error.js';
import { type ModelSettings, readSettings } from './settings.js';
import { readTokenTable } from './token-table.js';

/** A model's folder, checked and cut. */
export interface DecoderModel {
  readonly info: ModelInfo;
  readonly settings: ModelSettings;
  readonly cut: CutModel;
  /** Absolute: where the graph and its data are. */
  readonly graphFolder: string;
}

export interface DecoderOptions {
  /** What clients call it. Default: the folder's name. */
  readonly name?: string;
  /** One of several graphs, relative to the folder. Default: what a CPU runs best. */
  readonly graph?: string;
}

/**
 * Reads a model's folder, but for its weights.
 *
 * @throws {@link ModelError} for a folder that is broken, UnsupportedModelError for a graph that
 * can't be cut.
 */
export function loadDecoder(folder: string, options: DecoderOptions = {}): DecoderModel {
  const settings = readSettings(folder, options.graph);
  const { graphFile } = settings;
  const file = path.resolve(folder, graphFile);
  const model = readGraph(file, graphFile);
  const graphFolder = path.dirname(file);
  const missing = missingData(model.graph.initializer, graphFolder);
  if (missing) throw new ModelError(`${graphFile}: ${missing}`);
  const cut = cutModel(model, graphFolder, settings.headDim);
  const vocabSize = vocabularyOf(model) ?? settings.vocabSize;
  if (!vocabSize) throw new ModelError('nothing says how many tokens the vocabulary has');
  const { attention } = cut.layers[0];
  const longRope = cut.tables.find(({ long }) => long);
  const rows = cut.tables.map(({ short, long }) => (long ?? short).rows);
  const info: ModelInfo = {
    name: options.name ?? path.basename(path.resolve(folder)),
    vocabSize,
    contextLength: Math.min(settings.contextLength, ...rows),
    layers: cut.layers.length,
    heads: attention.heads,
    kvHeads: attention.kvHeads,
    headDim: attention.headDim,
    eosTokenIds: endsOf(folder, settings, vocabSize),
    embeddings: cut.hidden !== undefined,
    ...(longRope ? { longRopeFrom: longRope.short.rows } : {}),
  };
  return { info, settings, cut, graphFolder };
}

function readGraph(file: string, name: string): OnnxModel {
  try {
    return decodeModel(readFileSync(file));
  } catch (error) {
    throw new ModelError(`${name} is no ONNX model: ${(error as Error).message}`);
  }
}

/** The last dimension of the logits, where the graph has it. */
function vocabularyOf({ graph }: OnnxModel): number | undefined {
  const logits = graph.output.find(({ name }) => name === 'logits');
  const size = int64(logits?.type?.tensorType?.shape?.dim?.at(-1)?.dimValue ?? 0);
  return size > 0 ? size : undefined;
}

/** All tokens that end an answer; also whether the tokenizer can be the model's at all. */
function endsOf(folder: string, settings: ModelSettings, vocabSize: number): number[] {
  const { last, has, eosTokenId } = readTokenTable(folder);
  if (last >= vocabSize) {
    const had = `the model has logits for ${vocabSize} tokens`;
    throw new ModelError(`tokenizer.json has a token of id ${last}, but ${had}`);
  }
  const unknown = settings.eosTokenIds.find((id) => !has(id));
  if (unknown !== undefined) {
    throw new ModelError(`tokenizer.json has no token of id ${unknown}, which ends an answer`);
  }
  return [...new Set([...settings.eosTokenIds, ...(eosTokenId === undefined ? [] : [eosTokenId])])];
}
