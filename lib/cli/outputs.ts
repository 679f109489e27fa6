import type { Tensor } from '../index.js';
import { CliError } from './cli-error.js';
import { writeFileOf } from './files.js';
import type { FloatDType, HostTensor } from './host-tensor.js';
import { npyParts } from './npy.js';
import { safetensorsParts } from './safetensors.js';

type Format = 'npy' | 'safetensors';

function formatOf(path: string, option: string): Format {
  if (path.endsWith('.npy')) return 'npy';
  if (path.endsWith('.safetensors')) return 'safetensors';
  throw new CliError(`${option} ${path}: expected a name that ends in .npy or .safetensors`);
}

/** What to write where. */
export interface OutputPlan {
  /** Path to the names of the tensors that go there. */
  readonly files: ReadonlyMap<string, readonly ('out' | 'lse')[]>;
  readonly wantsLse: boolean;
}

/** Checked before anything is computed: a typing error must not cost the result. */
export function planOutputs(out: string | undefined, lse: string | undefined): OutputPlan {
  const files = new Map<string, ('out' | 'lse')[]>();
  if (out !== undefined) {
    const both = formatOf(out, '--out') === 'safetensors' && lse === undefined;
    files.set(out, both ? ['out', 'lse'] : ['out']);
  }
  if (lse !== undefined) {
    if (formatOf(lse, '--lse') === 'npy' && files.has(lse)) {
      throw new CliError(`--lse ${lse}: is the file of --out; a .npy file holds one array`);
    }
    files.set(lse, [...(files.get(lse) ?? []), 'lse']);
  }
  return { files, wantsLse: [...files.values()].some((names) => names.includes('lse')) };
}

/** Writes the planned files. Results of a rank 3 input are written without the batch axis. */
export async function writeOutputs(
  plan: OutputPlan,
  results: { out: Tensor; lse?: Tensor },
  batched: boolean,
): Promise<void> {
  for (const [path, names] of plan.files) {
    const tensors: Record<string, HostTensor> = {};
    for (const name of names) {
      const result = results[name] as Tensor;
      const shape = batched ? result.shape : result.shape.slice(1);
      const { buffer } = await result.data();
      const dtype = result.dtype as FloatDType;
      const data = dtype === 'float32' ? new Float32Array(buffer) : new Uint16Array(buffer);
      tensors[name] = { dtype, shape, data };
    }
    const npy = formatOf(path, '--out') === 'npy';
    await writeFileOf(path, npy ? npyParts(tensors[names[0]]) : safetensorsParts(tensors));
  }
}
