// A worker of one part, as a process of its own.
import { connect } from '@nats-io/transport-node';
import { type CutPart, ContextPart, KvCache, type KvCacheOptions } from 'flash-attention/serving';
import { answerOverNats } from '../../src/context/index.js';

/** What a worker is started with, as JSON. */
export interface WorkerSettings {
  readonly url: string;
  readonly subject: string;
  readonly cut: CutPart;
  readonly cache: KvCacheOptions;
}

const settings: WorkerSettings = JSON.parse(process.argv[2]);
const connection = await connect({ servers: settings.url });
const part = new ContextPart(new KvCache(settings.cache), settings.cut);
answerOverNats(connection, settings.subject, part);
await connection.flush();
process.send?.('ready');
