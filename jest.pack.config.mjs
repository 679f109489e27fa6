import base from './jest.config.mjs';

/** Packs, installs and runs the package: slow, and apart from the unit tests. */
export default {
  ...base,
  testMatch: ['<rootDir>/test/pack.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
};
