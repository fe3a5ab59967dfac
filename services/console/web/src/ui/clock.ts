import { useSyncExternalStore } from "react";

// One ticker for the whole page: every ring and every count-down reads it, and nobody has a timer of
// its own. It steps once a second, and ten times a second while somebody needs that.

type Listener = () => void;

class Clock {
  private listeners = new Set<Listener>();
  private fast = new Set<Listener>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private offset = 0;
  private time = Date.now();

  // now is the time of the server as well as it is known, Unix milliseconds.
  now = (): number => this.time;

  // follow learns the difference between the clocks from an answer of the server.
  follow(serverMs: number): void {
    if (serverMs > 0) this.offset = serverMs - Date.now();
    this.time = Date.now() + this.offset;
  }

  subscribe = (listener: Listener): (() => void) => {
    this.listeners.add(listener);
    this.schedule();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.stop();
    };
  };

  // hurry makes the clock step ten times a second until the returned function is called.
  hurry(listener: Listener): () => void {
    this.fast.add(listener);
    this.stop();
    this.schedule();
    return () => this.fast.delete(listener);
  }

  private stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private schedule(): void {
    if (this.timer !== undefined || this.listeners.size === 0) return;
    const step = this.fast.size > 0 ? 100 : 1000;
    const now = Date.now() + this.offset;
    this.timer = setTimeout(this.tick, step - (now % step));
  }

  private tick = (): void => {
    this.timer = undefined;
    this.time = Date.now() + this.offset;
    for (const l of this.listeners) l();
    this.schedule();
  };
}

export const clock = new Clock();

// useSecond re-renders once a second and returns the time rounded to it.
export function useSecond(): number {
  return useSyncExternalStore(clock.subscribe, () => Math.floor(clock.now() / 1000) * 1000);
}

// useTenth re-renders ten times a second while the clock hurries.
export function useTenth(): number {
  return useSyncExternalStore(clock.subscribe, () => Math.floor(clock.now() / 100) * 100);
}
