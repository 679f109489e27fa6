// Runs the device tests on a device that the other test runs do not use: `node
// scripts/test-device.mjs cuda:0`, or `simt:sm80`, `simt:sm86` or `simt:sm90`, for which it builds
// the test addon. Further arguments go to jest.
import path from 'node:path';
import { deviceTests, docsTests } from './device-tests.mjs';
import { ensureBuilt, npm, root, run } from './ensure-built.mjs';

const [device, ...args] = process.argv.slice(2);
if (!/^(cuda:\d+|simt:sm(80|86|90))$/.test(device ?? '')) {
  console.error(
    'Usage: node scripts/test-device.mjs cuda:<number> | simt:sm80 | simt:sm86 | simt:sm90 [jest arguments]',
  );
  process.exit(1);
}
ensureBuilt();
const env = { ...process.env, FLASH_ATTENTION_DEVICE: device };
if (device.startsWith('simt:')) {
  npm('run', '--silent', 'build:simt');
  env.FLASH_ATTENTION_SIMT_DEVICES = device.slice('simt:'.length);
  env.FLASH_ATTENTION_ADDON = path.join(root, 'build-simt/flash_attention_simt.node');
}
// Gradients by finite differences are float32, which on Hopper runs the kernels of sm_80.
const others = device === 'simt:sm90' ? ['finite-differences'] : [];
// What sm_86 runs that sm_80 does not are tiles for less shared memory, by head dim.
const sm86 = device === 'simt:sm86';
const tests = sm86
  ? 'test/(numerics/(tiles|backward)|device/kernel-choice)\\.test\\.ts$'
  : `${deviceTests}|${docsTests}`;
const jest = [
  '--disable-warning=ExperimentalWarning',
  '--experimental-vm-modules',
  'node_modules/jest/bin/jest.js',
  `--testPathPatterns=/(${tests})`,
  ...['/node_modules/', ...others].map((pattern) => `--testPathIgnorePatterns=${pattern}`),
  ...(sm86 ? ['--testNamePattern=tile of head dim|every row, head dim|on a GPU'] : []),
];
run(process.execPath, [...jest, ...args], { env });
