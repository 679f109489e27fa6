// How L2 is to treat what the forward kernels of sm_90a load, in the PTX that nvcc makes of them:
// the SIMT executor has no caches, so no other test can see it.
// @ts-expect-error: plain JavaScript
import { emitPtx, nvcc } from '../scripts/ptxas/wgmma.mjs';
import { testIf } from './support/device.js';

const testWithNvcc = testIf(nvcc !== undefined, 'there is no nvcc');

const load =
  /cp\.async\.bulk\.tensor\.(\d)d\.shared::cluster\.global\.tile\.mbarrier::complete_tx::bytes(\S*) \[%r\d+\], \[%rd\d+, \{[^}]*\}\], \[%r\d+\](?:, (%rd\d+))?;/g;

/** Of each load its dimensions and what made its policy. */
function policies(ptx: string): string[] {
  return [...ptx.matchAll(load)].map(([, rank, qualifier, register], i, all) => {
    if (register === undefined) return `${rank}d${qualifier}`;
    const before = ptx.slice(0, all[i].index);
    const made = before.lastIndexOf(` ${register}, 1.0;`);
    const line = before.slice(before.lastIndexOf('\n', made) + 1, made).trim();
    return `${rank}d${qualifier} ${line}`;
  });
}

testWithNvcc('queries leave L2 first, keys and values last', () => {
  const found = policies(emitPtx('test/simt/attention/forward_fp8_kernels.cu', ['csrc']));
  expect(new Set(found)).toEqual(
    new Set([
      '4d.L2::cache_hint createpolicy.fractional.L2::evict_last.b64',
      '5d.L2::cache_hint createpolicy.fractional.L2::evict_first.b64',
    ]),
  );
  // Of three kernels: keys in two places, values in one.
  expect(found.length).toBeGreaterThanOrEqual(3 * 4);
});

test('a load without a policy, and one with another', () => {
  const of = (rest: string) =>
    `cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes${rest}`;
  const operands = '[%r1], [%rd2, {%r3, %r4, %r5, %r6}], [%r7]';
  const made = 'createpolicy.fractional.L2::evict_first.b64 %rd8, 1.0;\n';
  expect(policies(`${of(` ${operands};`)}`)).toEqual(['4d']);
  expect(policies(`\t${made}${of(`.L2::cache_hint ${operands}, %rd8;`)}`)).toEqual([
    '4d.L2::cache_hint createpolicy.fractional.L2::evict_first.b64',
  ]);
});
