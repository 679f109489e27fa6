// What parts are asked and answer: safetensors files whose metadata says what it is about, so that
// a worker or a transport in another language needs no format of ours.
import { FlashAttentionError, fail } from '../../native/errors.js';
import { show, showShape } from '../../native/show.js';
import {
  elementsOf,
  type FloatDType,
  floatDTypes,
  type HostTensor,
} from '../../tensor/host-tensor.js';
import {
  entryOf,
  type FileDType,
  metadataOf,
  openSafetensors,
  type Refuse,
  safetensorsBytes,
} from '../../tensor/safetensors.js';
import { checkBytes } from '../../tensor/tensor-data.js';

const format = 'flash-attention.context';
/** 2: rows in 16 bits, ALiBi slopes. */
const version = '2';

/** What was sent: a JSON object, and tensors. */
export interface Message {
  readonly body: Readonly<Record<string, unknown>>;
  has(name: string): boolean;
  /** The elements of a floating tensor of this shape; -1 is any length. */
  rows(name: string, shape: readonly number[]): HostTensor<FloatDType>;
  bytes(name: string): Uint8Array<ArrayBuffer>;
}

export function encodeMessage(
  body: object,
  tensors: Readonly<Record<string, HostTensor<FileDType>>>,
): Uint8Array<ArrayBuffer> {
  return safetensorsBytes(tensors, { format, version, body: JSON.stringify(body) });
}

/** Bytes as a tensor. */
export function asTensor(bytes: Uint8Array<ArrayBuffer>): HostTensor<'int8'> {
  const data = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { dtype: 'int8', shape: [data.length], data };
}

/** @throws {@link FlashAttentionError} `ERR_TYPE`, `ERR_SHAPE`. */
export function decodeMessage(value: unknown, argument: string): Message {
  const refuse: Refuse = (what) => {
    throw new FlashAttentionError(
      'ERR_TYPE',
      `Expected ${argument} to be a message of format ${format}, version ${version}, but ` +
        `received one that ${what}.`,
      { argument },
    );
  };
  const { header, data } = openSafetensors(checkBytes(value, argument), refuse);
  const metadata = metadataOf(header);
  if (metadata.format !== format || metadata.version !== version) {
    refuse(`is of format ${show(metadata.format)}, version ${show(metadata.version)}`);
  }
  const read = (name: string): HostTensor<FloatDType> => {
    const { dtype, shape, begin, end } = entryOf(header, name, data.length, floatDTypes, refuse);
    return { dtype, shape, data: elementsOf(data.slice(begin, end).buffer, dtype) };
  };
  return {
    body: bodyOf(metadata.body, refuse),
    has: (name) => Object.hasOwn(header, name),
    rows(name, shape) {
      const found = read(name);
      const fits = shape.every((length, i) => length === -1 || length === found.shape[i]);
      if (found.shape.length !== shape.length || !fits) {
        fail('ERR_SHAPE', argument, `of ${name} ${showShape(shape)}`, showShape(found.shape));
      }
      return found;
    },
    bytes(name) {
      const { begin, end } = entryOf(header, name, data.length, ['int8'], refuse);
      return data.subarray(begin, end);
    },
  };
}

function bodyOf(text: unknown, refuse: Refuse): Readonly<Record<string, unknown>> {
  let body: unknown;
  try {
    body = JSON.parse(String(text));
  } catch {
    refuse('has a body that is no JSON');
  }
  if (typeof body !== 'object' || body === null) refuse('has a body that is no object');
  return body as Record<string, unknown>;
}
