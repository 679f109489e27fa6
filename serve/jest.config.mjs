import root from '../jest.config.mjs';

const [file, options] = root.transform['\\.ts$'];

/** @type {import('jest').Config} */
export default {
  ...root,
  testEnvironment: '<rootDir>/test/support/environment.mjs',
  // Tests of the engine run the worker from dist, which `npm run build` makes.
  setupFilesAfterEnv: ['<rootDir>/../test/support/equality.mjs'],
  transform: { '\\.ts$': [file.replace('<rootDir>', '<rootDir>/..'), options] },
};
