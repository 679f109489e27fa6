import OpenAI from 'openai';

/** OpenAI's own client, which asks once and no more. */
export function clientOf(
  { url }: { readonly url: string },
  options: { apiKey?: string; maxRetries?: number } = {},
): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0, ...options });
}
