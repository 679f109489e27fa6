// The operation that runs on the CPU alone.
import { defaultDevice, dynamicConv, tensor } from '../../lib/index.js';
import { onCpu } from '../support/device.js';
import { expectThrow } from '../support/expect-error.js';

const x = tensor([1, 2], [1, 2, 1, 1]);
const weights = tensor([0, 0], [1, 2]);

test('dynamicConv runs on the CPU, and says so on any other device', async () => {
  if (onCpu) {
    expect([...(await dynamicConv(x, weights).toFloat32())]).toEqual([0.5, 1.5]);
    return;
  }
  const only = /Expected x to be a tensor on cpu, the one device that dynamicConv runs on, but/;
  expectThrow(() => dynamicConv(x, weights), 'ERR_DEVICE', 'x', only);
  const there = dynamicConv(x.to('cpu'), weights.to('cpu')).to(defaultDevice());
  expect([...(await there.toFloat32())]).toEqual([0.5, 1.5]);
});
