import { Code, ConnectError } from "@connectrpc/connect";
import type { Clients } from "../rpc/clients";
import type { ConversationEvent, DeskSignal } from "../gen/wxbus/agentrouting/v1/conversation_events_pb";

export type Link =
  | { state: "connecting" }
  | { state: "up"; since: number }
  | { state: "down"; since: number; retry: number; nextAt: number };

export interface CaughtUpInfo {
  count: number;
  from: bigint;
  to: bigint;
  at: number;
  reloaded: boolean;
}

export interface FeedState {
  link: Link;
  seq: bigint | undefined;
  latency: number | undefined;
  heardAt: number; // when the server was last heard
  caughtUp: CaughtUpInfo | undefined;
}

interface Options {
  clients: Pick<Clients, "feed">;
  onEvent(e: ConversationEvent, live: boolean): void;
  onSignal(s: DeskSignal): void;
  // reload loads every list; it is called when the feed starts at the present.
  reload(): Promise<void>;
  now?: () => number;
  random?: () => number;
  sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

const silence = 25_000; // heartbeats come every 15 s
const backoff = [500, 1_000, 2_000, 4_000, 8_000];

// Feed follows the facts of conversations and resumes after a cut where it stopped: every fact comes
// once and in order, and how many came late is told.
export class Feed {
  state: FeedState = { link: { state: "connecting" }, seq: undefined, latency: undefined, heardAt: 0, caughtUp: undefined };
  private listeners = new Set<() => void>();
  private stopped = new AbortController();
  private attempt = new AbortController();
  private wake: () => void = () => undefined;

  constructor(private readonly o: Options) {}

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  read = (): FeedState => this.state;

  private set(part: Partial<FeedState>): void {
    this.state = { ...this.state, ...part };
    for (const l of this.listeners) l();
  }

  private now(): number {
    return this.o.now?.() ?? Date.now();
  }

  stop(): void {
    this.stopped.abort();
    this.attempt.abort();
  }

  // reconnect tries now instead of after the pause.
  reconnect(): void {
    this.attempt.abort();
    this.wake();
  }

  measured(ms: number): void {
    this.set({ latency: ms });
  }

  async run(): Promise<void> {
    for (let retry = 0; !this.stopped.signal.aborted; ) {
      const from = this.state.seq;
      try {
        await this.follow(() => (retry = 0));
      } catch (err) {
        if (ConnectError.from(err).code === Code.OutOfRange && from !== undefined) {
          this.set({ seq: undefined }); // what we missed is no longer kept: start again at the present
          continue;
        }
      }
      if (this.stopped.signal.aborted) return;
      retry++;
      await this.pause(retry);
    }
  }

  private async pause(retry: number): Promise<void> {
    const base = backoff[Math.min(retry, backoff.length) - 1] ?? 8_000;
    const wait = Math.round(base * (0.75 + (this.o.random?.() ?? Math.random()) / 2));
    const { link } = this.state;
    this.set({ link: { state: "down", since: link.state === "down" ? link.since : this.now(), retry, nextAt: this.now() + wait } });
    const signal = this.stopped.signal;
    await (this.o.sleep?.(wait, signal) ?? new Promise<void>((done) => {
      const timer = setTimeout(done, wait);
      this.wake = () => {
        clearTimeout(timer);
        done();
      };
      signal.addEventListener("abort", this.wake, { once: true });
    }));
  }

  private async follow(connected: () => void): Promise<void> {
    this.attempt = new AbortController();
    const attempt = this.attempt;
    let alarm = setTimeout(() => attempt.abort(), silence);
    const after = this.state.seq;
    let live = false;
    try {
      const stream = this.o.clients.feed.watch(after === undefined ? {} : { afterSeq: after }, { signal: attempt.signal });
      for await (const res of stream) {
        clearTimeout(alarm);
        alarm = setTimeout(() => attempt.abort(), silence);
        connected();
        if (this.state.link.state !== "up") this.set({ link: { state: "up", since: this.now() } });
        const seq = res.item.case === "signal" ? this.state.seq : res.seq > (this.state.seq ?? 0n) ? res.seq : this.state.seq;
        switch (res.item.case) {
          case "event":
            if (after !== undefined && res.seq <= after) break; // never twice
            if (res.item.value.fact.case === "conversationEvent") this.o.onEvent(res.item.value.fact.value, live);
            break;
          case "signal":
            this.o.onSignal(res.item.value);
            break;
          case "caughtUp":
            live = true;
            if (after === undefined) await this.o.reload();
            this.set({ caughtUp: { count: Number(res.item.value.replayed), from: after ?? res.seq, to: res.seq, at: this.now(), reloaded: after === undefined } });
            break;
        }
        this.set({ seq, heardAt: this.now() });
      }
    } finally {
      clearTimeout(alarm);
      attempt.abort();
    }
  }
}
