/** A cluster on paper. */
export interface ClusterLoad {
  readonly workers: number;
  readonly frontends: number;
  /** Of the whole cluster, in a second. */
  readonly requests: number;
  readonly promptTokens: number;
  readonly answerTokens: number;
  /** Tokens of an answer in a second, which is steps of a worker. */
  readonly tokensPerSecond: number;
  /** Of each worker's cache. */
  readonly pages: number;
  readonly pageSize: number;
  /** Milliseconds, see cluster/timing.ts. */
  readonly beat: number;
  readonly alive: number;
}

/** What things cost, measured where the model is computed. */
export interface Costs {
  /** Seconds to read a beat, and those of each page that it tells. */
  readonly beat: number;
  readonly pageOfBeat: number;
  /** Seconds to read a report, and those of each token in it. */
  readonly report: number;
  readonly tokenOfReport: number;
  /** Seconds to weigh one worker for one request whose prompt it has. */
  readonly weigh: number;
  /** Bytes of the memory of a frontend for each page that a worker stores. */
  readonly bytesOfPage: number;
  /** Bytes on the wire. */
  readonly wire: { readonly beat: number; readonly pageOfBeat: number; readonly token: number };
}

export interface ScaleResult {
  /** Messages in a second that NATS gets, and that it hands on. */
  readonly published: number;
  readonly delivered: number;
  /** Of each frontend, in a second. */
  readonly frontendMessages: number;
  readonly frontendBytes: number;
  /** Bytes of its index of prefixes. */
  readonly index: number;
  /** Shares of one core that a frontend spends on each. */
  readonly shares: Readonly<Record<'beats' | 'reports' | 'routing', number>>;
  /** The greatest of them. */
  readonly first: 'beats' | 'reports' | 'routing';
}

/** What a cluster in a steady state asks of NATS and of each frontend. */
export function modelCluster(load: ClusterLoad, costs: Costs): ScaleResult {
  const { workers, frontends, requests, pageSize } = load;
  const beats = workers * (1000 / load.beat);
  // A steady cache stores a page for each that it gives up, and both are told.
  const tokens = requests * (load.promptTokens + load.answerTokens);
  const pagesTold = (2 * tokens) / pageSize;
  const running = (requests * load.answerTokens) / load.tokensPerSecond;
  // A frontend gets one report of a worker's step, if the worker has something of it.
  const perPair = running / (workers * frontends);
  const reports = workers * frontends * (1 - Math.exp(-perPair)) * load.tokensPerSecond;
  const pairs = workers * frontends * (1 - Math.exp(-perPair));
  const alive = pairs * (1000 / load.alive);
  const published = beats + reports + 2 * alive + 2 * requests;
  const delivered = beats * frontends + reports + 2 * alive + 2 * requests;
  const each = {
    beats,
    reports: reports / frontends,
    requests: requests / frontends,
    tokens: (requests * load.answerTokens) / frontends,
  };
  const shares = {
    beats: each.beats * costs.beat + pagesTold * costs.pageOfBeat,
    reports: each.reports * costs.report + each.tokens * costs.tokenOfReport,
    routing: each.requests * workers * costs.weigh,
  };
  const names = ['beats', 'reports', 'routing'] as const;
  const { wire } = costs;
  return {
    published,
    delivered,
    frontendMessages: each.beats + each.reports,
    frontendBytes: each.beats * wire.beat + pagesTold * wire.pageOfBeat + each.tokens * wire.token,
    index: workers * load.pages * costs.bytesOfPage,
    shares,
    first: names.reduce((a, b) => (shares[b] > shares[a] ? b : a)),
  };
}
