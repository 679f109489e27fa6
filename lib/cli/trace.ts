import { chromeTrace, synchronize, type Tensor, traceCpu } from '../index.js';
import { checkOutputPaths } from './check-paths.js';
import { CliError } from './cli-error.js';
import { writeFileOf } from './write-file.js';

export const traceHelp =
  'trace a call on the CPU: begin and end of every work item by thread, as Chrome trace JSON';

/** Whether the file can be written, before anything is computed. */
export function checkTrace(
  file: string | undefined,
  device: string,
  inputs: readonly string[],
): void {
  if (file === undefined) return;
  if (device !== 'cpu') {
    throw new CliError(`--trace ${file}: only the CPU is traced, and the device is ${device}`);
  }
  checkOutputPaths([{ option: '--trace', path: file }], inputs);
}

/** Runs the call once, traced, and writes what its threads did. */
export async function writeTrace(
  file: string,
  call: () => { out: Tensor; lse?: Tensor },
): Promise<void> {
  const trace = await traceCpu(async () => {
    const { out, lse } = call();
    await synchronize('cpu');
    out.dispose();
    lse?.dispose();
  });
  if (trace.dropped > 0) {
    console.error(`--trace ${file}: ${trace.dropped} work items did not fit, and are not in it`);
  }
  const lines = chromeTrace(trace).map((event) => JSON.stringify(event));
  await writeFileOf(file, [Buffer.from(`[\n${lines.join(',\n')}\n]\n`)]);
}
