// Peers are no dependencies: half a gigabyte that nobody but this benchmark needs. --install-peers
// puts them into build-bench/, at the versions that scripts/bench-serve.mjs names.
import { existsSync } from 'node:fs';

/** Where each begins, below its folder. */
const entries = {
  transformers: 'node_modules/@huggingface/transformers/dist/transformers.node.mjs',
  'llama-cpp': 'node_modules/node-llama-cpp/dist/index.js',
} as const;

export type Peer = keyof typeof entries;

const urlOf = (peer: Peer): URL => new URL(`./peers/${peer}/${entries[peer]}`, import.meta.url);

export const isInstalled = (peer: Peer): boolean => existsSync(urlOf(peer));

export const importPeer = <T>(peer: Peer): Promise<T> => import(urlOf(peer).href) as Promise<T>;
