// Runs the device tests on a device that the other test runs do not use: `node
// scripts/test-device.mjs cuda:0`, or `simt:sm80` (or 86, 90, 100, 120), for which it builds the
// test addon. Further arguments go to jest.
import path from 'node:path';
import { deviceTests, docsTests } from './device-tests.mjs';
import { ensureBuilt, npm, root, run } from './ensure-built.mjs';

const [device, ...args] = process.argv.slice(2);
if (!/^(cuda:\d+|simt:sm(80|86|90|100|120))$/.test(device ?? '')) {
  console.error(
    'Usage: node scripts/test-device.mjs cuda:<number> | simt:sm<80, 86, 90, 100 or 120> [jest arguments]',
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
// They have the tiles of sm_80 and of sm_86. What is theirs is what the host chooses and asks for.
const later = { tests: `test/device/(kernel-choice|runtime-calls)\\.test\\.ts$|${docsTests}` };
const {
  tests = `${deviceTests}|${docsTests}`,
  names = [],
  others = [],
} = {
  // What sm_86 runs that sm_80 does not are tiles for less shared memory, by head dim.
  'simt:sm86': {
    tests: 'test/(numerics/(tiles|backward)|device/kernel-choice)\\.test\\.ts$',
    names: ['--testNamePattern=tile of head dim|every row, head dim|on a GPU'],
  },
  // Gradients by finite differences are float32, which on Hopper runs the kernels of sm_80.
  'simt:sm90': { others: ['finite-differences'] },
  'simt:sm100': later,
  'simt:sm120': later,
}[device] ?? {};
const jest = [
  '--disable-warning=ExperimentalWarning',
  '--experimental-vm-modules',
  'node_modules/jest/bin/jest.js',
  `--testPathPatterns=/(${tests})`,
  ...['/node_modules/', ...others].map((pattern) => `--testPathIgnorePatterns=${pattern}`),
  ...names,
];
run(process.execPath, [...jest, ...args], { env });
