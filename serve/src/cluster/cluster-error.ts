/** What is wrong with NATS, or with how it was asked for: shown as a message. */
export class ClusterError extends Error {
  override readonly name = 'ClusterError';
}
