import base from './jest.config.mjs';

/** Packs the package, installs it and runs it: slow, and apart from the unit tests. */
export default {
  ...base,
  globalSetup: '<rootDir>/test/install/pack.mjs',
  testMatch: ['<rootDir>/test/install/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
};
