// `using tensor = …` needs Symbol.dispose, which old runtimes and fresh vm contexts may lack. The
// fallback key is the one that TypeScript's and SWC's helpers look for.
if (!Symbol.dispose) {
  Object.defineProperty(Symbol, 'dispose', { value: Symbol.for('Symbol.dispose') });
}

export {};
