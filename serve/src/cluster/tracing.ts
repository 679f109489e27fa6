import type { Context, Span } from '@opentelemetry/api';

/** Where the package is not installed nothing is traced; without an SDK spans cost nothing. */
const api = await import('@opentelemetry/api').catch(() => undefined);

const tracer = api?.trace.getTracer('flash-attention-serve');

/** A part of a trace: an answer as a frontend sees it, or as a worker makes it. */
export class TracedWork {
  readonly #context: Context | undefined;
  readonly #span: Span | undefined;

  private constructor(name: string, parent: Context | undefined, attributes: Attributes) {
    if (!api || !tracer || !parent) return;
    this.#span = tracer.startSpan(name, { attributes }, parent);
    this.#context = api.trace.setSpan(parent, this.#span);
  }

  /** In a frontend, below whatever is active there: a request of HTTP, as an SDK sees it. */
  static begin(name: string, attributes: Attributes): TracedWork {
    return new TracedWork(name, api?.context.active(), attributes);
  }

  /** In a worker, below the span whose headers came with the work. */
  static continue(name: string, headers: Headers, attributes: Attributes): TracedWork {
    const parent = api?.propagation.extract(api.ROOT_CONTEXT, headers ?? {});
    return new TracedWork(name, parent, attributes);
  }

  /** A part of this one. */
  child(name: string, attributes: Attributes = {}): TracedWork {
    return new TracedWork(name, this.#context, attributes);
  }

  /** What another process needs to go on; undefined: nobody traces. */
  get headers(): Headers {
    if (!api || !this.#context || !this.#span?.isRecording()) return undefined;
    const headers: Record<string, string> = {};
    api.propagation.inject(this.#context, headers);
    return headers;
  }

  event(name: string, attributes: Attributes = {}): void {
    this.#span?.addEvent(name, attributes);
  }

  end(attributes: Attributes = {}, error?: Error): void {
    if (!api || !this.#span) return;
    this.#span.setAttributes(attributes);
    if (error) this.#span.setStatus({ code: api.SpanStatusCode.ERROR, message: error.message });
    this.#span.end();
  }
}

type Headers = Record<string, string> | undefined;
type Attributes = Record<string, string | number>;
