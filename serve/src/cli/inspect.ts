import { type Inspection, inspect, type LayerInspection } from '../model/inspect.js';

type Served = Extract<Inspection, { served: true }>;

/** Prints what the folder holds. Resolves to the exit code: 1 when the server can't serve it. */
export async function printInspection(folder: string, { json }: { json?: true }): Promise<number> {
  const found = await inspect(folder);
  if (json) console.log(JSON.stringify(found, null, 2));
  else if (found.served) console.log(showTable(rowsOf(found)));
  else console.error(`error: ${folder}: ${found.reason}`);
  return found.served ? 0 : 1;
}

function rowsOf({ info, memory, parts, layers, ...found }: Served): [string, string][] {
  const { bytesPerToken, weightBytes } = memory;
  return [
    ['model', `${info.name}, can be served`],
    ['files', `${found.graphFile} (${found.layout} layout)`],
    ['context', `${info.contextLength} tokens`],
    ['vocabulary', `${info.vocabSize} tokens; ${info.eosTokenIds.join(', ')} end an answer`],
    ['chat template', found.chatTemplate ? 'yes' : 'none: only /v1/completions'],
    ['embeddings', info.embeddings ? 'yes' : 'no'],
    ['weights', `${showMiB(weightBytes)} in ${parts.length} parts`],
    [
      'cache',
      Object.entries(bytesPerToken)
        .map(([dtype, bytes]) => `${dtype}: ${showMiB(bytes * 1024)} for 1024 tokens`)
        .join('\n'),
    ],
    ['layers', showLayers(layers)],
  ];
}

/** Neighbours that are alike in one line. */
function showLayers(layers: readonly LayerInspection[]): string {
  const groups: { first: number; last: number; text: string }[] = [];
  for (const [index, layer] of layers.entries()) {
    const text = showLayer(layer);
    const group = groups.at(-1);
    if (group?.text === text) group.last = index;
    else groups.push({ first: index, last: index, text });
  }
  return groups
    .map(({ first, last, text }) => `${first === last ? first : `${first}-${last}`}: ${text}`)
    .join('\n');
}

function showLayer(layer: LayerInspection): string {
  const { heads, kvHeads, headDim, scale, softcap, window, sinks, rotaryDim } = layer;
  return [
    `${heads} heads, ${kvHeads} of keys, head_dim ${headDim}`,
    `scale ${Number(scale.toPrecision(4))}`,
    rotaryDim > 0 ? `rotary ${rotaryDim}` : 'no rotary',
    ...(window === undefined ? [] : [`window ${window}`]),
    ...(softcap === undefined ? [] : [`softcap ${softcap}`]),
    ...(sinks ? ['sinks'] : []),
  ].join(', ');
}

const showMiB = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(2)} MiB`;

function showTable(rows: readonly [label: string, text: string][]): string {
  const width = Math.max(...rows.map(([label]) => label.length)) + 2;
  const indent = `\n${' '.repeat(width)}`;
  return rows
    .map(([label, text]) => label.padEnd(width) + text.replaceAll('\n', indent))
    .join('\n');
}
