// A plugin of TypeDoc. A docstring may link to what another entry point exports, and its own file
// then does not import: `{@link FlashAttentionError}` in flash-attention/serving.

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.addUnknownSymbolResolver((reference, from) => {
    const [name, ...rest] = reference.symbolReference?.path ?? [];
    if (name === undefined || rest.length > 0) return undefined;
    const target = from.project.children
      .map((entry) => entry.getChildByName(name.path))
      .find((found) => found !== undefined);
    return target && { target, caption: name.path };
  });
}
