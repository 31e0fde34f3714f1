// What the clients of a soak have done and what went wrong: sessions begun, by activity, and errors that nobody expected.
// It keeps numbers and a few examples, however long the soak.

/** Examples kept of each activity's errors. */
const keptErrors = 3;

export class Ledger {
  readonly #begun = new Map<string, number>();
  readonly #errors = new Map<string, { count: number; examples: string[] }>();

  begin(activity: string): void {
    this.#begun.set(activity, this.begun(activity) + 1);
  }

  begun(activity: string): number {
    return this.#begun.get(activity) ?? 0;
  }

  get sessions(): number {
    return this.#begun.values().reduce((sum, count) => sum + count, 0);
  }

  get errors(): number {
    return this.#errors.values().reduce((sum, { count }) => sum + count, 0);
  }

  fail(activity: string, error: unknown): void {
    const kept = this.#errors.get(activity) ?? { count: 0, examples: [] };
    kept.count += 1;
    if (kept.examples.length < keptErrors) kept.examples.push(String(error));
    this.#errors.set(activity, kept);
  }

  /** A sentence for each activity that had any. */
  complaints(): string[] {
    return [...this.#errors].map(
      ([activity, { count, examples }]) =>
        `${activity}: ${count} unexpected errors, such as ${examples.join('; ')}`,
    );
  }
}
