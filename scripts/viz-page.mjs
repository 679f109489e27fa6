// Puts the visualiser together: its page, style sheet and script become one file, dist/viz.html.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { buildSync } from 'esbuild';
import { root } from './ensure-built.mjs';
import { constants } from './package-constants.mjs';

const at = (file) => path.join(root, file);

function styleSheet() {
  const entryPoints = [at('viz/style/index.css')];
  const { outputFiles } = buildSync({ entryPoints, bundle: true, minify: true, write: false });
  return outputFiles[0].text.trim();
}

/** @param script what the bundler made of viz/main.ts; it goes into the page, and away. */
export function writeVizPage(script) {
  // Within a script, this alone would end the element.
  const code = readFileSync(at(script), 'utf8').trim().replaceAll('</script', '<\\/script');
  // The only library in the page; d3's modules have one author and one licence.
  const notice = `<!--\nWith d3-scale:\n${readFileSync(at('node_modules/d3-scale/LICENSE'), 'utf8')}-->`;
  const parts = {
    style: `<style>${styleSheet()}</style>`,
    version: constants.PACKAGE_VERSION,
    script: `${notice}\n<script>${code}</script>`,
  };
  const template = readFileSync(at('viz/index.html'), 'utf8');
  const page = template.replace(/<!-- (\w+) -->/g, (comment, name) => parts[name] ?? comment);
  writeFileSync(at('dist/viz.html'), page);
  rmSync(at(script));
}
