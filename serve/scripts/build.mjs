// `npm run build`: dist from src. What is no TypeScript is copied as it is.
import { spawnSync } from 'node:child_process';
import { cpSync, rmSync, statSync, writeFileSync } from 'node:fs';

rmSync('dist', { recursive: true, force: true });
const { status } = spawnSync('tsc', ['-p', 'tsconfig.build.json'], {
  stdio: 'inherit',
  shell: true,
});
if (status !== 0) process.exit(status ?? 1);
const isAsset = (file) => statSync(file).isDirectory() || !file.endsWith('.ts');
cpSync('src', 'dist', { recursive: true, filter: isAsset });
writeFileSync('dist/built', ''); // later than all of it: see ensure-built.mjs
