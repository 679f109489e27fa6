// onnxruntime-node makes its results of the process's own typed arrays, and takes no others: tests
// run in a context that has those in place of its own.
import { TestEnvironment } from 'jest-environment-node';

const names = [
  ...['Float32Array', 'Float64Array', 'BigInt64Array', 'BigUint64Array'],
  ...['Int8Array', 'Int16Array', 'Int32Array', 'Uint8Array', 'Uint16Array', 'Uint32Array'],
];

export default class extends TestEnvironment {
  constructor(...options) {
    super(...options);
    for (const name of names) this.global[name] = globalThis[name];
  }
}
