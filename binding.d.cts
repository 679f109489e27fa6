declare namespace loader {
  /** Which native binary this process loads, and why that one. */
  interface AddonFile {
    readonly path: string;
    readonly kind:
      | 'FLASH_ATTENTION_ADDON'
      | 'FLASH_ATTENTION_PREBUILD'
      | 'local build'
      | 'prebuilt';
  }

  // `moduleUrl`: of the calling module, which a bundle in ESM needs.
  function packageFolder(): string | undefined;
  function bundleFolder(moduleUrl?: string): string;
  function find(moduleUrl?: string): AddonFile | undefined;
  function load(moduleUrl?: string): unknown;
}

export = loader;
