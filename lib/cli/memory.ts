import { readFileSync } from 'node:fs';

/**
 * The most memory this process has held at a time, in bytes. From /proc where there is one:
 * getrusage also counts what the process was before exec.
 */
export function peakMemory(): number {
  try {
    const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'));
    if (peak) return Number(peak[1]) * 1024;
  } catch {
    // No /proc.
  }
  return process.resourceUsage().maxRSS * 1024;
}
