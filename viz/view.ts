import type { Settings } from './model/settings.js';

/** One of the page's views. */
export interface View {
  readonly element: HTMLElement;
  readonly title: string;
  show(settings: Settings): void;
  /** Called when another view is shown. */
  hide?(): void;
  /** Takes a key that no control has taken. */
  press?(event: KeyboardEvent): void;
}
