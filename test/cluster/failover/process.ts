// What every program that runs on a host of the failover tests has in common: where its arguments come from, how it
// says what it sees, and that it does not outlive the test.

/** The arguments, as the test gave them. */
export function given<T>(): T {
  return JSON.parse(process.argv[2]!) as T;
}

/** Milliseconds of the machine's monotonic clock, the same for all processes. */
export function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export function say(what: object): void {
  console.log(JSON.stringify({ atMs: machineMs(), ...what }));
}

/** The test holds the other end of standard input. */
export function endWithTheTest(): void {
  process.stdin.resume().on('end', () => process.exit());
}
