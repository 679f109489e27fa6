import { randomUUID } from 'node:crypto';
import { possibleStart } from '../../text/stop-strings.js';

/** A call of a tool, as the API shows it. */
export interface ToolCall {
  readonly id: string;
  readonly type: 'function';
  /** `arguments` is JSON in a string, as in OpenAI's API. */
  readonly function: { readonly name: string; readonly arguments: string };
}

/** What a piece of a text says, and what it calls. */
interface Found {
  readonly text: string;
  readonly calls: readonly ToolCall[];
}

/** The marks of Hermes, Qwen, SmolLM and others: a JSON object with name and arguments between. */
const begin = '<tool_call>';
const end = '</tool_call>';

/** Whether a model with this chat template writes its calls in a way that is read here. */
export const writesToolCalls = (template: string): boolean => template.includes(begin);

/**
 * Finds calls of tools in a text that comes in pieces. Space beside a call belongs to it. What is
 * no call, though it begins like one, stays text.
 */
export class ToolCallReader {
  /** What may still become a call. */
  #held = '';
  #hasCalled = false;

  /** Whether there was a call. */
  get hasCalled(): boolean {
    return this.#hasCalled;
  }

  push(piece: string): Found {
    let text = '';
    const calls: ToolCall[] = [];
    let rest = this.#held + piece;
    for (;;) {
      const from = rest.indexOf(begin);
      const to = rest.indexOf(end, from);
      if (from < 0 || to < 0) break;
      const call = parseCall(rest.slice(from + begin.length, to));
      if (call) {
        text += rest.slice(0, from).trimEnd();
        calls.push(call);
        this.#hasCalled = true;
      } else {
        text += rest.slice(0, to + end.length);
      }
      rest = rest.slice(to + end.length);
    }
    const open = rest.indexOf(begin);
    const free = open < 0 ? rest.length - possibleStart(rest, begin) : open;
    const shown = rest.slice(0, free).trimEnd();
    this.#held = rest.slice(shown.length);
    return { text: text + shown, calls };
  }

  /** What was held and has become no call. */
  end(): string {
    const text = this.#held;
    this.#held = '';
    return this.#hasCalled && text.trim() === '' ? '' : text;
  }
}

function parseCall(json: string): ToolCall | undefined {
  let call: { name?: unknown; arguments?: unknown };
  try {
    call = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (typeof call?.name !== 'string') return undefined;
  const { name, arguments: given = {} } = call;
  const args = typeof given === 'string' ? given : JSON.stringify(given);
  const id = `call_${randomUUID().replaceAll('-', '')}`;
  return { id, type: 'function', function: { name, arguments: args } };
}
