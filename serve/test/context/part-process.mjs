// A worker of one part, as a process: `node part-process.mjs '{ url, subject, cut, model }'`.
import { connect } from '@nats-io/transport-node';
import { ContextPart, KvCache } from 'flash-attention/serving';
import { answerOverNats } from '../../dist/context/index.js';

const { url, subject, cut, model } = JSON.parse(process.argv[2]);
const connection = await connect({ servers: url });
const cache = new KvCache({ ...model, numPages: 64, dtype: 'bfloat16' });
answerOverNats(connection, subject, new ContextPart(cache, cut));
await connection.flush();
process.send('ready');
