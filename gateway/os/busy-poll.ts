// Whether a thread that waits for the answer to a few bytes goes on asking for it instead of going to sleep (busy
// polling): where one alone asks. Being woken takes longer than many an answer takes to come, and costs whoever sent the
// answer, too; where several ask there is work enough, and events that gather meanwhile cost less each.
// Pure: it is told what came of each wait, and asks no clock.
// Threat: peers that keep a processor busy with this. A wait is asked through for `ms` at most, others of the thread are
// served meanwhile as ever, and it is given up where answers do not come within that time: of the waits asked through in
// vain there is at most one for four that were not, and five for each try; tries become rare where they fail.

/** Sleeps shorter than this many times `ms`, one after the other, make a try: what they took is mostly the waking. */
const sleepFactor = 3;
/** How many of them, after a try that did well; twice as many after each that did not, up to the second. */
const fewestSleeps = 8;
const mostSleeps = 1024;
/** A try begins with all of its credit, since the others go on sleeping for a while. A wait in vain takes some of it. */
const mostCredit = 16;
const vainCost = 4;
/** Answers after which a try has done well. */
const goodTry = 16;

export class BusyPoll {
  /** Longest time for one wait, milliseconds; 0 never asks. */
  readonly ms: number;
  /** Waits whose answer came while it was asked for. */
  answered = 0;
  /** Those that ended in sleep. */
  vain = 0;
  #asker = -1;
  #isOn = false;
  #credit = 0;
  #answeredInTry = 0;
  #shortSleeps = 0;
  #sleepsWanted = fewestSleeps;

  constructor(ms: number) {
    this.ms = ms;
  }

  /** Whether to ask through the wait for the next answer. */
  get isOn(): boolean {
    return this.#isOn;
  }

  /** A wait for an answer that was slept through, with how long it took. */
  slept(ms: number): void {
    if (this.#isOn) return;
    this.#shortSleeps = ms < sleepFactor * this.ms ? this.#shortSleeps + 1 : 0;
    if (this.#shortSleeps < this.#sleepsWanted) return;
    this.#isOn = true;
    this.#credit = mostCredit;
    this.#answeredInTry = 0;
  }

  /**
   * A few bytes were sent whose answer may come at once.
   * @param asker tells apart who sent them, such as by a descriptor; another one than before begins anew
   */
  askedBy(asker: number): void {
    if (asker === this.#asker) return;
    this.#asker = asker;
    this.#isOn = false;
    this.#shortSleeps = 0;
  }

  /** A wait that was asked through: whether the answer came. */
  polled(didAnswer: boolean): void {
    if (didAnswer) {
      this.answered += 1;
      this.#answeredInTry += 1;
      this.#credit = Math.min(mostCredit, this.#credit + 1);
      return;
    }
    this.vain += 1;
    this.#credit -= vainCost;
    if (this.#credit < 0) this.#giveUp();
  }

  #giveUp(): void {
    this.#isOn = false;
    this.#shortSleeps = 0;
    this.#sleepsWanted =
      this.#answeredInTry >= goodTry ? fewestSleeps : Math.min(mostSleeps, this.#sleepsWanted * 2);
  }
}
