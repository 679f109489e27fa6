/** The section of a version in CHANGELOG.md, as { date, notes }; undefined when there is none. */
export function entryOf(changelog, version) {
  const sections = changelog.split(/^## /m).slice(1);
  const section = sections.find((text) => text.startsWith(`[${version}]`));
  if (section === undefined) return undefined;
  const [title, ...lines] = section.split('\n');
  const notes = lines.join('\n').trim();
  return { date: /^\[.+\] - (\d{4}-\d{2}-\d{2})$/.exec(title)?.[1], notes };
}
