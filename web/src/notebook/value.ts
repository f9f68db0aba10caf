// A value that can be watched.

export class Value<T> {
  #now: T;
  readonly #heard = new Set<(now: T) => void>();

  constructor(first: T) {
    this.#now = first;
  }

  get now(): T {
    return this.#now;
  }

  set(next: T): void {
    if (Object.is(next, this.#now)) return;
    this.#now = next;
    for (const hear of [...this.#heard]) hear(next);
  }

  /** Calls back on every change; returns how to stop it. */
  listen(hear: (now: T) => void): () => void {
    this.#heard.add(hear);
    return () => this.#heard.delete(hear);
  }

  /** Waits until the value is one that is wanted. */
  until(wanted: (now: T) => boolean): Promise<T> {
    if (wanted(this.#now)) return Promise.resolve(this.#now);
    return new Promise((resolve) => {
      const stop = this.listen((now) => {
        if (wanted(now)) {
          stop();
          resolve(now);
        }
      });
    });
  }
}
