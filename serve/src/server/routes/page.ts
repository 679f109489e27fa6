import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';

/** The chat page: one file, whose script and style may run and nothing else. */
export function pageRoute(app: FastifyInstance): void {
  const html = readFileSync(new URL('../../page/index.html', import.meta.url), 'utf8');
  const policy = [
    "default-src 'none'",
    `script-src ${inlineHash(html, 'script')}`,
    `style-src ${inlineHash(html, 'style')}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
  app.get('/', { config: { open: true } }, async (_request, reply) => {
    return reply
      .type('text/html; charset=utf-8')
      .header('content-security-policy', policy)
      .header('referrer-policy', 'no-referrer')
      .send(html);
  });
}

/** The source expression that allows the page's only element of this name. */
function inlineHash(html: string, element: string): string {
  const [, content] = html.match(new RegExp(`<${element}[^>]*>([^]*?)</${element}>`)) ?? [];
  if (content === undefined) throw new Error(`The chat page has no <${element}>.`);
  return `'sha256-${createHash('sha256').update(content).digest('base64')}'`;
}
