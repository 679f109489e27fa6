import {
  attributeType,
  int64,
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxNode,
} from './format.js';
import type { OnnxTensor } from './format.js';

function find(node: OnnxNode, name: string): OnnxAttribute | undefined {
  return node.attribute.find((attribute) => attribute.name === name);
}

export function intAttribute(node: OnnxNode, name: string, byDefault: number): number {
  const found = find(node, name);
  return found ? int64(found.i ?? 0) : byDefault;
}

export function floatAttribute(node: OnnxNode, name: string, byDefault: number): number {
  const found = find(node, name);
  return found ? (found.f ?? 0) : byDefault;
}

export function stringAttribute(node: OnnxNode, name: string, byDefault: string): string {
  const found = find(node, name);
  return found?.s ? new TextDecoder().decode(found.s) : byDefault;
}

export function intsAttribute(node: OnnxNode, name: string): number[] | undefined {
  return find(node, name)?.ints?.map(int64);
}

export function tensorAttribute(node: OnnxNode, name: string): OnnxTensor | undefined {
  return find(node, name)?.t ?? undefined;
}

export function graphAttribute(node: OnnxNode, name: string): OnnxGraph | undefined {
  return find(node, name)?.g ?? undefined;
}

/** An attribute's value; {@link makeNode} names it. */
export const attribute = {
  int: (i: number): OnnxAttribute => ({ name: '', type: attributeType.int, i }),
  float: (f: number): OnnxAttribute => ({ name: '', type: attributeType.float, f }),
  string: (text: string): OnnxAttribute => {
    return { name: '', type: attributeType.string, s: new TextEncoder().encode(text) };
  },
  ints: (ints: number[]): OnnxAttribute => ({ name: '', type: attributeType.ints, ints }),
  tensor: (t: OnnxTensor): OnnxAttribute => ({ name: '', type: attributeType.tensor, t }),
  graph: (g: OnnxGraph): OnnxAttribute => ({ name: '', type: attributeType.graph, g }),
};
