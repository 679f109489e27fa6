import base from './jest.config.mjs';

/** The site of the documents in a browser: `npm run test:site` builds it first. */
export default {
  ...base,
  testMatch: ['<rootDir>/test/site/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
};
