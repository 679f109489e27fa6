import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { ObjectStore } from '@nats-io/obj';
import { z } from 'zod';
import { ClusterError } from './cluster-error.js';
import type { Connection } from './connection.js';

/** Milliseconds that NATS has for each of its answers: without the text nothing begins. */
const patience = 60_000;

/** What loadModelText reads of a folder. */
const files = [
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'chat_template.json',
];

/** Tokenizer and chat template of a model, as workers leave them for frontends. */
export interface PackedText {
  /** Of the content: workers of one model have the same. */
  readonly digest: string;
  readonly bytes: Uint8Array;
}

export function packModelText(folder: string): PackedText {
  const found = files.filter((file) => existsSync(path.join(folder, file)));
  const json = JSON.stringify(
    Object.fromEntries(found.map((file) => [file, readFileSync(path.join(folder, file), 'utf8')])),
  );
  return { digest: createHash('sha256').update(json).digest('hex'), bytes: gzipSync(json) };
}

/** Leaves it in the object store, where it is not there yet. */
export async function putModelText(connection: Connection, text: PackedText): Promise<void> {
  const store = await openStore(connection);
  if ((await store.info(text.digest)) === null) {
    await store.putBlob({ name: text.digest }, text.bytes);
  }
}

const content = z.record(z.enum(files), z.string().optional());

/** Writes it into a folder of its own, which goes with this process. */
export async function fetchModelText(connection: Connection, digest: string): Promise<string> {
  const store = await openStore(connection);
  const bytes = await store.getBlob(digest);
  if (bytes === null) throw new ClusterError("the workers' tokenizer is not in the object store");
  const folder = mkdtempSync(path.join(tmpdir(), 'flash-attention-text-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const texts = content.parse(JSON.parse(gunzipSync(bytes).toString()));
  for (const file of files) {
    const text = texts[file];
    if (text !== undefined) writeFileSync(path.join(folder, file), text);
  }
  return folder;
}

async function openStore(connection: Connection): Promise<ObjectStore> {
  try {
    const name = `flash-attention-${connection.subjects.cluster}-text`;
    return await connection.objects(patience).create(name);
  } catch (error) {
    const { message } = error as Error;
    throw new ClusterError(`NATS has no object store (nats-server -js): ${message}`);
  }
}
