import type { Tensor } from '../index.js';
import { CliError } from './cli-error.js';
import { checkOutputPaths, isSamePath, type OutputPath } from './check-paths.js';
import type { FloatDType, HostTensor } from '../tensor/host-tensor.js';
import { npyParts } from './npy.js';
import { safetensorsParts } from '../tensor/safetensors.js';
import { writeFileOf } from './write-file.js';

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

/**
 * Checked before anything is computed: a typing error must not cost the result, and no result may
 * cost an input.
 */
export function planOutputs(
  out: string | undefined,
  lse: string | undefined,
  inputs: readonly string[],
): OutputPlan {
  const files = new Map<string, ('out' | 'lse')[]>();
  const paths: OutputPath[] = [];
  if (out !== undefined) {
    const both = formatOf(out, '--out') === 'safetensors' && lse === undefined;
    files.set(out, both ? ['out', 'lse'] : ['out']);
    paths.push({ option: '--out', path: out });
  }
  if (lse !== undefined) {
    const format = formatOf(lse, '--lse');
    const isShared = out !== undefined && isSamePath(out, lse);
    if (isShared && (format === 'npy' || formatOf(out, '--out') === 'npy')) {
      throw new CliError(`--lse ${lse}: is the file of --out; a .npy file holds one array`);
    }
    if (isShared) files.set(out, ['out', 'lse']);
    else files.set(lse, ['lse']);
    paths.push({ option: '--lse', path: lse });
  }
  checkOutputPaths(paths, inputs);
  return { files, wantsLse: [...files.values()].some((names) => names.includes('lse')) };
}

/** NumPy has no bfloat16; files of the ml_dtypes package look the same. */
const numpyView =
  'bfloat16, which NumPy shows as two-byte void, dtype |V2; numbers again with ' +
  'import ml_dtypes; np.load(path).view(ml_dtypes.bfloat16)';

/** Writes the planned files. Results of a rank 3 input are written without the batch axis. */
export async function writeOutputs(
  plan: OutputPlan,
  results: { out: Tensor; lse?: Tensor },
  batched: boolean,
  note: (text: string) => void,
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
    if (npy && tensors[names[0]].dtype === 'bfloat16') note(`${path}: ${numpyView}`);
    await writeFileOf(path, npy ? npyParts(tensors[names[0]]) : safetensorsParts(tensors));
  }
}
