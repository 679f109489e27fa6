import base from './jest.config.mjs';

/** The visualiser in a browser: `npm run test:viz` looks for one first. */
export default {
  ...base,
  testMatch: ['<rootDir>/test/viz/browser/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
};
