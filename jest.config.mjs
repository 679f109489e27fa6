import { availableParallelism } from 'node:os';
import { constants } from './scripts/package-constants.mjs';

/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  globals: constants,
  // Each computes on all cores: more of them would only take memory.
  maxWorkers: Math.min(availableParallelism(), 4),
  // A process for each file: what one leaves to the garbage collector is none of the next one's.
  workerIdleMemoryLimit: 0,
  // The float64 reference takes its time, more so on a busy machine.
  testTimeout: 120_000,
  setupFilesAfterEnv: ['<rootDir>/test/support/equality.mjs'],
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  modulePathIgnorePatterns: ['<rootDir>/\\.gpu-carry/'],
  testPathIgnorePatterns: ['/node_modules/', '/test/install/', '/test/site/', '/test/viz/browser/'],
  extensionsToTreatAsEsm: ['.ts'],
  // Sources import './tensor.js', as Node wants; the file is tensor.ts.
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': ['$1.ts', '$1.js'] },
  transform: {
    '\\.ts$': [
      '<rootDir>/test/support/jest-transform.mjs',
      {
        jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
        module: { type: 'es6' },
      },
    ],
  },
};
