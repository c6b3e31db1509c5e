/** Ask again and again, one call at a time, slower when refused, not at all while the page is hidden. */

const SLOWEST = 30_000;

export class Poll {
  /** @param work async, called with nothing; @param every ms; @param failed told of each error */
  constructor(work, every, failed) {
    Object.assign(this, { work, every, failed, running: false, wake: null });
  }

  start() {
    if (this.running) return;
    this.running = true;
    this._run();
  }

  stop() {
    this.running = false;
    this.wake?.();
  }

  async _run() {
    const seen = () => document.hidden || this.wake?.();
    document.addEventListener("visibilitychange", seen);
    let wait = this.every;
    while (this.running) {
      if (!document.hidden) {
        try {
          await this.work();
          wait = this.every;
        } catch (error) {
          wait = Math.min(SLOWEST, Math.max(2 * wait, 1000 * (error.retryAfter ?? 0)));
          this.failed(error);
        }
      }
      if (!this.running) break;
      await new Promise((done) => {
        this.wake = done;
        setTimeout(done, wait);
      });
    }
    document.removeEventListener("visibilitychange", seen);
  }
}
