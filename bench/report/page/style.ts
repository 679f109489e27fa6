/** Everything the page looks like; light or dark as the reader's system is. */
export const style = `
:root {
  --page: #f6f7f9; --card: #ffffff; --ink: #1b2430; --soft: #66717f; --line: #e3e7ec;
  --ours: #0b6bcb; --half: #0a9b8e; --brain: #7b4fd0; --alternative: #5aa9f0;
  --peer: #e07b00; --group: #96580a; --onnx: #c9a100; --matmul: #c2410c; --standard: #b3327a;
  --other: #8a94a0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11161d; --card: #19202a; --ink: #e6ebf1; --soft: #93a0af; --line: #2a3441;
    --ours: #4aa8ff; --half: #2fd0bf; --brain: #b092ff; --alternative: #2b76bd;
    --peer: #ffa435; --group: #c78f4c; --onnx: #e6c62f; --matmul: #ff7d4d; --standard: #f06fb3;
    --other: #7d8997;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 34px; line-height: 1.15; letter-spacing: -0.02em; margin: 0 0 6px; }
h2 { font-size: 22px; letter-spacing: -0.01em; margin: 52px 0 4px; }
p { margin: 0 0 14px; color: var(--soft); max-width: 78ch; }
.facts { color: var(--soft); margin: 0 0 26px; display: grid; grid-template-columns: max-content 1fr;
  gap: 0 14px; font-size: 13.5px; }
.facts dt { color: var(--ink); } .facts dd { margin: 0; }
.tiles { display: grid; gap: 14px; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px 18px; }
.tile strong { display: block; font-size: 27px; line-height: 1.15; letter-spacing: -0.02em;
  color: var(--ours); font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13.5px; line-height: 1.35; display: block; margin-top: 4px; }
.charts { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(430px, 100%), 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 12px 12px 8px; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 18px; margin: 10px 0 14px; font-size: 13.5px; }
.legend span { display: inline-flex; align-items: center; gap: 7px; cursor: default; }
.legend i { width: 18px; height: 4px; border-radius: 2px; background: currentColor; }
.legend b { font-weight: 400; color: var(--ink); }
svg { display: block; width: 100%; height: auto; font-family: inherit; }
svg text { fill: var(--soft); font-size: 12px; }
svg .bar-name { font-size: 11.5px; }
svg .chart-title { fill: var(--ink); font-size: 14px; font-weight: 600; }
svg .grid { stroke: var(--line); fill: none; }
svg .line { stroke: currentColor; stroke-width: 2; fill: none; stroke-linejoin: round; }
svg .c-ours .line, svg .c-half .line, svg .c-brain .line { stroke-width: 3; }
svg .spread { stroke: currentColor; stroke-width: 1.5; opacity: 0.55; }
svg circle, svg rect { fill: currentColor; }
svg path.reference { stroke: var(--soft); stroke-dasharray: 5 4; fill: none; }
svg text.reference { fill: var(--soft); font-size: 11.5px; }
svg .limit { stroke: var(--ink); stroke-width: 2; fill: none; }
svg .bar-value { fill: var(--ink); font-variant-numeric: tabular-nums; }
svg .c-ours .bar-name { fill: var(--ink); font-weight: 600; }
.c-ours { color: var(--ours); } .c-half { color: var(--half); } .c-brain { color: var(--brain); }
.c-alternative { color: var(--alternative); } .c-peer { color: var(--peer); }
.c-group { color: var(--group); } .c-onnx { color: var(--onnx); } .c-matmul { color: var(--matmul); }
.c-standard { color: var(--standard); } .c-other { color: var(--other); }
[data-who] { transition: opacity 0.12s; }
.picking [data-who]:not(.picked) { opacity: 0.14; }
#tip { position: fixed; pointer-events: none; background: var(--ink); color: var(--card); padding: 7px 10px;
  border-radius: 7px; font-size: 13px; line-height: 1.4; white-space: pre; opacity: 0; z-index: 1;
  font-variant-numeric: tabular-nums; }
details { margin-top: 14px; } summary { cursor: pointer; color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 8px 0 22px; }
caption { text-align: left; font-weight: 600; padding: 8px 0 4px; }
th { color: var(--soft); font-weight: 500; }
th, td { text-align: right; padding: 3px 12px 3px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
.name { text-align: left; } tr.own td { font-weight: 600; }
footer { margin-top: 52px; color: var(--soft); font-size: 13.5px; }
`;
