// Node's permission model (`node --permission`), which may keep us from looking, or from working.
import { packageRoot } from './package-root.js';
import { type Check, ok, problem } from './doctor-check.js';

/** `process.permission`, which is there where the model is on. */
export interface Permission {
  has(scope: string): boolean;
}

const needs: readonly { scope: string; flag: string; what: string }[] = [
  { scope: 'fs.read', flag: '--allow-fs-read=*', what: 'reading files' },
  { scope: 'addon', flag: '--allow-addons', what: 'native addons' },
  { scope: 'child', flag: '--allow-child-process', what: 'child processes' },
];

/** Nothing where the model is off; what it denies of what doctor needs is a problem. */
export function checkPermission(
  permission = (process as { permission?: Permission }).permission,
  flags: readonly string[] = [...process.execArgv, process.env.NODE_OPTIONS ?? ''],
): Check[] {
  if (!permission) return [];
  // Older versions have no scope for addons, only the flag.
  const isAllowed = (scope: string, flag: string) =>
    permission.has(scope) || (scope === 'addon' && flags.some((each) => each.includes(flag)));
  const denied = needs.filter(({ scope, flag }) => !isAllowed(scope, flag));
  if (denied.length === 0)
    return [ok('permissions', "Node's permission model is on and allows it")];
  const found = `Node's permission model is on and denies ${denied.map((n) => n.what).join(', ')}`;
  const remedy =
    `Run doctor without --permission, or add ${denied.map((n) => n.flag).join(' ')}. Attention ` +
    `itself needs --allow-addons and --allow-fs-read=${packageRoot}/*.`;
  return [problem('permissions', found, remedy)];
}
