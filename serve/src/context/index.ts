/**
 * The transport of context-parallel attention that needs a client of NATS, which
 * `flash-attention/serving` does without.
 *
 * @module flash-attention-serve/context
 */
export {
  answerOverNats,
  natsTransport,
  type NatsTransportOptions,
} from './nats-transport.js';
