import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** The system counts in hundredths of a second per CPU: less time than this tells nothing. */
const shortestLapMs = 190;

/**
 * Seconds that all CPUs of the machine were busy, stolen time included; undefined without /proc.
 */
function machineBusy(): number | undefined {
  try {
    const [, ...ticks] = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0].trim().split(/\s+/);
    // user nice system idle iowait irq softirq steal (proc(5)), in hundredths of a second
    const busy = [0, 1, 2, 5, 6, 7].map((at) => Number(ticks[at] ?? 0));
    return busy.reduce((sum, x) => sum + x, 0) / 100;
  } catch {
    return undefined;
  }
}

function ownBusy(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Watches how much of the machine other processes, and the host, take. */
export class DisturbanceMeter {
  #machine = machineBusy();
  #own = ownBusy();
  #time = performance.now();

  /**
   * Share of all CPUs, 0 to 1, since the last call; undefined where the system does not say, or too
   * early.
   */
  lap(): number | undefined {
    const machine = machineBusy();
    const own = ownBusy();
    const time = performance.now();
    let share: number | undefined;
    const isLongEnough = time - this.#time >= shortestLapMs;
    if (machine !== undefined && this.#machine !== undefined && isLongEnough) {
      const others = machine - this.#machine - (own - this.#own);
      const available = ((time - this.#time) / 1000) * availableParallelism();
      share = Math.min(Math.max(others / available, 0), 1);
    }
    this.#machine = machine;
    this.#own = own;
    this.#time = time;
    return share;
  }
}
