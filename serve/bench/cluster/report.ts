// Results as tables of Markdown.
import type { ChaosPartResult, ScalePart } from './parts.js';
import type { RoutingResult } from './routing.js';
import type { ThroughputResult } from './throughput.js';
import type { TransferResult } from './transfer.js';

const row = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;

function table(titles: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  return [row(titles), `|${'---|'.repeat(titles.length)}`, ...rows.map(row)].join('\n');
}

const percent = (part: number): string => `${Math.round(100 * part)} %`;
const milliseconds = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} ms`;
const large = new Intl.NumberFormat('en-US', { maximumSignificantDigits: 2 });
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

export function throughputTable(results: readonly ThroughputResult[]): string {
  const rate = ({ answerTokens, seconds }: ThroughputResult) => answerTokens / seconds;
  const one = results.find(({ workers }) => workers === 1);
  const perToken = (seconds: number, { answerTokens }: ThroughputResult) =>
    `${((1e6 * seconds) / answerTokens).toFixed(0)} µs`;
  return table(
    ['processes', 'tokens/s', 'to one worker', 'computing', 'frontend', 'NATS'],
    results.map((result) => [
      result.workers === 0 ? 'one, without NATS' : `workers: ${result.workers}`,
      rate(result).toFixed(0),
      one ? (rate(result) / rate(one)).toFixed(2) : '',
      ...[result.computing, result.frontend, result.nats].map((each) => perToken(each, result)),
    ]),
  );
}

export function transferTable(results: readonly TransferResult[]): string {
  return table(
    [
      ...['cache', 'tokens', 'bytes a token', 'save', 'put', 'take', 'load', 'all, per token'],
      'of processors, per token',
    ],
    results.map(({ dtype, tokens, bytes, save, put, take, load, processors }) => [
      dtype,
      tokens,
      Math.round(bytes / tokens),
      ...[save, put, take, load].map(milliseconds),
      ...[save + put + take + load, processors].map((all) => {
        return `${((1000 * all) / tokens).toFixed(0)} µs`;
      }),
    ]),
  );
}

export function routingTable(results: readonly RoutingResult[]): string {
  return table(
    ['workers', 'prompt tokens found', 'first token, median', 'of one in twenty'],
    results.map(({ routing, cachedTokens, promptTokens, firstToken }) => [
      routing === 'random' ? 'at random' : 'by prefix',
      percent(cachedTokens / promptTokens),
      milliseconds(firstToken.median),
      milliseconds(firstToken.p95),
    ]),
  );
}

export function chaosTable({ chats, decided, same, kills, seconds }: ChaosPartResult): string {
  return table(
    ['chats', 'without a tie', 'of them the same', 'workers ended', 'time'],
    [[chats, decided, same.join(', '), kills, `${seconds.toFixed(0)} s`]],
  );
}

export function scaleTable(parts: readonly ScalePart[]): string {
  const line = (title: string, show: (part: ScalePart) => string): string[] => [
    title,
    ...parts.map(show),
  ];
  return table(
    ['workers, frontends', ...parts.map(({ load }) => `${load.workers}, ${load.frontends}`)],
    [
      line('messages to NATS a second', ({ result }) => large.format(result.published)),
      line('messages from NATS a second', ({ result }) => large.format(result.delivered)),
      line('messages to each frontend a second', ({ result }) =>
        large.format(result.frontendMessages),
      ),
      line('bytes to each frontend a second', ({ result }) => megabytes(result.frontendBytes)),
      line('index of prefixes in each frontend', ({ result }) => megabytes(result.index)),
      line('cores for beats', ({ result }) => result.shares.beats.toFixed(3)),
      line('cores for tokens', ({ result }) => result.shares.reports.toFixed(3)),
      line('cores for choosing workers', ({ result }) => result.shares.routing.toFixed(3)),
      line('breaks first', ({ result }) => result.first),
    ],
  );
}
