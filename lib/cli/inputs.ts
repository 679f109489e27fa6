import { type DeviceName, type Tensor, tensor } from '../index.js';
import { CliError } from './cli-error.js';
import { type InputFile, standardInput, withFile } from './files.js';
import type { FloatDType, HostTensor } from '../tensor/host-tensor.js';
import { isNpy, readNpy } from './npy.js';
import { openSafetensors } from './safetensors.js';

export interface InputOptions {
  /** Names of the tensors in a safetensors file. */
  readonly names: readonly [q: string, k: string, v: string];
  /** What to compute in, and what 16-bit integers are the bits of. Default: as the file says. */
  readonly dtype?: FloatDType;
  readonly device: DeviceName;
  /** Told what was converted on the way. */
  readonly note: (text: string) => void;
}

export interface Inputs {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** Whether q came with a batch axis. */
  readonly batched: boolean;
}

/**
 * Brings q, k and v to the device, from three .npy files or one .safetensors file; the contents
 * decide which it is. One after the other, so that the host's copy of one can go before the next is
 * read.
 */
export async function loadInputs(paths: readonly string[], options: InputOptions): Promise<Inputs> {
  if (paths.filter((path) => path === standardInput).length > 1) {
    throw new CliError('- is standard input, which can be one file only');
  }
  if (paths.length === 1) return withFile(paths[0], (file) => loadSafetensors(file, options));
  if (paths.length === 3) return loadNpy(paths, options);
  throw new CliError(
    `expected three .npy files (q, k, v) or one .safetensors file but got ${paths.length} files`,
  );
}

async function loadSafetensors(file: InputFile, options: InputOptions): Promise<Inputs> {
  if (await startsAsNpy(file)) {
    throw new CliError(`${file.path}: is one array; expected three .npy files, of q, k and v`);
  }
  const read = await openSafetensors(file);
  return load((n) => read(options.names[n]), options);
}

function loadNpy(paths: readonly string[], options: InputOptions): Promise<Inputs> {
  const read = (path: string) =>
    withFile(path, async (file) => {
      if (await startsAsNpy(file)) return readNpy(file, options.dtype, options.note);
      const hint = 'Give a .safetensors file alone.';
      throw new CliError(`${file.path}: is not a .npy file. ${hint}`);
    });
  return load((n) => read(paths[n]), options);
}

async function startsAsNpy(file: InputFile): Promise<boolean> {
  return isNpy(await file.read(0, Math.min(6, file.size)));
}

async function load(
  read: (n: 0 | 1 | 2) => Promise<HostTensor>,
  options: InputOptions,
): Promise<Inputs> {
  const host = await read(0);
  return {
    q: toDevice(host, 'q', options),
    k: toDevice(await read(1), 'k', options),
    v: toDevice(await read(2), 'v', options),
    batched: host.shape.length === 4,
  };
}

/** [seqlen, heads, headDim] becomes a batch of one. */
function toDevice(host: HostTensor, name: string, { device, dtype }: InputOptions): Tensor {
  const { shape } = host;
  if (shape.length !== 3 && shape.length !== 4) {
    const found = `[${shape.join(', ')}]`;
    throw new CliError(`${name} is of shape ${found}; expected 4 axes, or 3 for a batch of one`);
  }
  const batched = shape.length === 3 ? [1, ...shape] : shape;
  const stored = tensor(host.data, batched, { dtype: host.dtype, device });
  if (dtype === undefined || dtype === host.dtype) return stored;
  const converted = stored.to(dtype);
  stored.dispose();
  return converted;
}
