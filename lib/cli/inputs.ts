import { type DeviceName, type Tensor, tensor } from '../index.js';
import { CliError } from './cli-error.js';
import { type InputFile, withFile } from './files.js';
import type { FloatDType, HostTensor } from './host-tensor.js';
import { isNpy, readNpy } from './npy.js';
import { readSafetensors } from './safetensors.js';

export interface InputOptions {
  /** Names of the tensors in a safetensors file. */
  readonly names: readonly [q: string, k: string, v: string];
  /** What to compute in, and what 16-bit integers are the bits of. Default: as the file says. */
  readonly dtype?: FloatDType;
}

export type Inputs = readonly [q: HostTensor, k: HostTensor, v: HostTensor];

/** Reads q, k and v from three .npy files or one .safetensors file; the contents decide which it is. */
export async function readInputs(
  paths: readonly string[],
  { names, dtype }: InputOptions,
): Promise<Inputs> {
  if (paths.length === 1) {
    return withFile(paths[0], async (file) => {
      if (await startsAsNpy(file)) {
        throw new CliError(`${file.path}: is one array; expected three .npy files, of q, k and v`);
      }
      return (await readSafetensors(file, names)) as [HostTensor, HostTensor, HostTensor];
    });
  }
  if (paths.length !== 3) {
    throw new CliError(
      `expected three .npy files (q, k, v) or one .safetensors file but got ${paths.length} files`,
    );
  }
  const tensors: HostTensor[] = [];
  for (const path of paths) {
    tensors.push(
      await withFile(path, async (file) => {
        if (await startsAsNpy(file)) return readNpy(file, dtype);
        throw new CliError(
          `${path}: is not a .npy file. (Of a .safetensors file, give that one only.)`,
        );
      }),
    );
  }
  return tensors as [HostTensor, HostTensor, HostTensor];
}

async function startsAsNpy(file: InputFile): Promise<boolean> {
  return isNpy(await file.read(0, Math.min(6, file.size)));
}

/** `host` on the device, [seqlen, heads, headDim] as a batch of one, in `dtype` where one is given. */
export function toDevice(
  host: HostTensor,
  name: string,
  device: DeviceName,
  dtype?: FloatDType,
): Tensor {
  const { shape } = host;
  if (shape.length !== 3 && shape.length !== 4) {
    throw new CliError(
      `${name} is of shape [${shape.join(', ')}]; expected 4 axes, or 3 for a batch of one`,
    );
  }
  const batched = shape.length === 3 ? [1, ...shape] : shape;
  const stored = tensor(host.data, batched, { dtype: host.dtype, device });
  if (dtype === undefined || dtype === host.dtype) return stored;
  const converted = stored.to(dtype);
  stored.dispose();
  return converted;
}
