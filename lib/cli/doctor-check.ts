/** How much a finding matters: a problem keeps attention from working as asked. */
export type Status = 'ok' | 'note' | 'warning' | 'problem';

/** One thing that was looked at. */
export interface Check {
  readonly name: string;
  readonly status: Status;
  readonly found: string;
  /** What to do, where something is to be done. */
  readonly remedy?: string;
}

export function ok(name: string, found: string): Check {
  return { name, status: 'ok', found };
}

export function note(name: string, found: string, remedy?: string): Check {
  return { name, status: 'note', found, remedy };
}

export function warning(name: string, found: string, remedy: string): Check {
  return { name, status: 'warning', found, remedy };
}

export function problem(name: string, found: string, remedy: string): Check {
  return { name, status: 'problem', found, remedy };
}
