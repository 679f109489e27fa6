// What jest makes of a TypeScript file: SWC's code, with the globals of arithmetic as constants of
// the module. Jest runs tests in a context of their own, where looking up a global takes half a
// microsecond, as long as a thousand multiplications.
import swc from '@swc/jest';

const globals = [
  ...['Infinity', 'NaN', 'Math', 'Number', 'BigInt', 'Array', 'Object', 'Map', 'Set'],
  ...['Float64Array', 'Float32Array', 'Int32Array', 'Uint32Array', 'Uint16Array', 'Uint8Array'],
  ...['ArrayBuffer', 'DataView'],
];
// On the first line of the code, so that the lines of stack traces stay as they are.
const prelude = `const { ${globals.join(', ')} } = globalThis; `;

export default {
  createTransformer(options) {
    const transformer = swc.createTransformer(options);
    const withGlobals = (result) => ({ ...result, code: prelude + result.code });
    return {
      ...transformer,
      process: (...args) => withGlobals(transformer.process(...args)),
      processAsync: async (...args) => withGlobals(await transformer.processAsync(...args)),
      getCacheKey: (...args) => transformer.getCacheKey(...args) + globals.join(),
    };
  },
};
