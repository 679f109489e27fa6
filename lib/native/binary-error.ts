// The words for a binary that cannot be loaded: of the library's error and of `doctor`.
import { type AddonFile, bundleFolder, findAddon, packageFolder } from './binding.js';
import { FlashAttentionError } from './errors.js';

const buildRemedy =
  'Run "npx flash-attention build" to compile it here (it says what is missing), or install the package again.';

const chosenRemedy = 'Correct FLASH_ATTENTION_ADDON or unset it.';

/** A line of configuration for each bundler; all but Bun leave binaries behind. */
const bundleRemedy = () =>
  [
    'The package was bundled, and bundlers leave its binary behind. Keep the package out of the bundle:',
    "  esbuild  external: ['flash-attention']",
    "  webpack  externals: { 'flash-attention': 'commonjs flash-attention' }",
    "  Next.js  serverExternalPackages: ['flash-attention']",
    "  Rollup   external: ['flash-attention']",
    "  Vite     ssr: { external: ['flash-attention'] }",
    `Or copy node_modules/flash-attention/prebuilds to ${bundleFolder()}.`,
  ].join('\n');

/** Where even looking is denied, by a permission model, there is no answer. */
function unlessDenied<T>(look: () => T): T | 'denied' {
  try {
    return look();
  } catch {
    return 'denied';
  }
}

const isBundled = () => unlessDenied(packageFolder) === undefined;

/** What to do about a binary that cannot be used, whatever the reason. */
export function remedyFor(file: AddonFile | undefined): string {
  if (file?.kind === 'FLASH_ATTENTION_ADDON') return chosenRemedy;
  return isBundled() ? bundleRemedy() : buildRemedy;
}

/** Advice for what the loaders of the systems say. */
const loaderAdvice: readonly { pattern: RegExp; advice: (remedy: string) => string }[] = [
  { pattern: /GLIBC_[\d.]+' not found/, advice: (remedy) => `${remedy} Or use a newer system.` },
  {
    pattern: /ld-linux[\w-]*\.so|libc\.musl|libc\.so: |Error relocating/,
    advice: (remedy) => `The binary is made for another C library (glibc, musl). ${remedy}`,
  },
  {
    pattern: /addons is disabled|access to this API has been restricted/i,
    advice: () =>
      'Node.js was told not to: start it without --no-addons; under --permission with ' +
      '--allow-addons and with --allow-fs-read for the folders of this package and node-gyp-build.',
  },
  {
    pattern: /^Requires \w+ access/,
    advice: () => 'Deno was told not to: start it with --allow-ffi --allow-read --allow-env.',
  },
  {
    pattern: /failed to map segment|Operation not permitted/i,
    advice: () => 'The folder is on a file system mounted noexec: install elsewhere or remount it.',
  },
  {
    pattern: /invalid ELF header|file too short|wrong ELF class|not a valid Win32|mach-o/i,
    advice: (remedy) =>
      'The file is no addon, or truncated or of another system, as when node_modules was copied. ' +
      remedy,
  },
  {
    pattern: /libasan|libtsan|libubsan|__asan|__tsan|ASan runtime/i,
    advice: () => 'This is a sanitizer build: preload its runtime with LD_PRELOAD, or build again.',
  },
  {
    pattern: /SIGILL/,
    advice: (remedy) => `The processor lacks instructions the binary uses. ${remedy}`,
  },
  {
    pattern: /did not self-register|napi_register_module|is no addon of/,
    advice: (remedy) => `The file is no addon, or one of another package. ${remedy}`,
  },
];

/** What to do about what the loader said. */
export function adviceFor(reason: string, file: AddonFile | undefined): string {
  const remedy = remedyFor(file);
  return loaderAdvice.find(({ pattern }) => pattern.test(reason))?.advice(remedy) ?? remedy;
}

/** The one error of a binary that cannot be loaded; `cause` is what the loader threw. */
export function binaryError(cause: unknown): FlashAttentionError {
  const found = unlessDenied(findAddon);
  const file = found === 'denied' ? undefined : found;
  const { platform, arch, versions } = process;
  const place = isBundled() ? ' in this bundle' : '';
  const what =
    file?.kind === 'FLASH_ATTENTION_ADDON'
      ? 'the file FLASH_ATTENTION_ADDON names cannot be loaded'
      : `no usable native binary for ${platform}-${arch} (Node ${versions.node})${place}`;
  const reason = String((cause as Error | undefined)?.message ?? cause).split('\n')[0];
  const lines = [
    `flash-attention: ${what}${file ? `: ${file.path}` : ''}.`,
    adviceFor(reason, file),
    ...(place ? [] : ['"npx flash-attention doctor" tells more.']),
    `Reason: ${reason}`,
  ];
  return new FlashAttentionError('ERR_NATIVE_BINARY', lines.join('\n'), { cause });
}
