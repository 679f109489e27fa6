import type { OnnxNode } from '../onnx/format.js';

/** Why a model can't be cut; the message names the node. */
export class UnsupportedModelError extends Error {
  override readonly name = 'UnsupportedModelError';

  static at(node: OnnxNode, reason: string): UnsupportedModelError {
    return new UnsupportedModelError(`node ${node.name || '(no name)'} (${node.opType}) ${reason}`);
  }
}
