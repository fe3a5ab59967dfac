import type { ConversationEvent, DeskSignal } from "../gen/wxbus/agentrouting/v1/conversation_events_pb";
import { SignalKind } from "../gen/wxbus/agentrouting/v1/conversation_events_pb";
import { AuthorKind, ConversationState, MessageState, type Conversation, type Fan, type Message } from "../gen/wxbus/agentrouting/v1/conversation_pb";

// The store holds what the desk shows. It changes by two things only: answers of the server, and
// facts of the feed in the order of their sequence. A fact that is older than what is known changes
// nothing, so an answer and the feed may cross.

export const conversationKey = (c: { account: string; id: string }): string => `${c.account}/${c.id}`;
export const fanKey = (f: { account: string; openid: string }): string => `${f.account}/${f.openid}`;

export interface Thread {
  messages: readonly Message[]; // by seq
  loaded: boolean;
  more: boolean; // older ones exist
}

export interface Colleague {
  actor: string;
  typing: boolean;
  at: number;
}

const empty: Thread = { messages: [], loaded: false, more: false };
const signalLife = 10_000;

export class DeskStore {
  private conversations = new Map<string, Conversation>();
  private threads = new Map<string, Thread>();
  private signals = new Map<string, Map<string, Colleague>>();
  private listeners = new Set<() => void>();
  private queued = false;
  private changes = { all: 0, conversations: 0, colleagues: 0 };
  // missed is called when a number was skipped, which the server promises never to do.
  missed: (account: string, conversation: string) => void = () => undefined;

  // What is drawn from a part of the store is drawn again when that part changes: a message of one
  // fan sorts no list of ten thousand others.
  version = (): number => this.changes.all;
  conversationsVersion = (): number => this.changes.conversations;
  colleaguesVersion = (): number => this.changes.colleagues;

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  // Many facts may come at once after a cut, so listeners are told once per task.
  private changed(part?: "conversations" | "colleagues"): void {
    this.changes.all++;
    if (part) this.changes[part]++;
    if (this.queued) return;
    this.queued = true;
    queueMicrotask(() => {
      this.queued = false;
      for (const l of this.listeners) l();
    });
  }

  all(): IterableIterator<Conversation> {
    return this.conversations.values();
  }

  conversation(account: string, id: string): Conversation | undefined {
    return this.conversations.get(`${account}/${id}`);
  }

  thread(fan: { account: string; openid: string }): Thread {
    return this.threads.get(fanKey(fan)) ?? empty;
  }

  colleagues(account: string, conversation: string, now: number): Colleague[] {
    return [...(this.signals.get(`${account}/${conversation}`)?.values() ?? [])].filter((c) => now - c.at < signalLife);
  }

  put(list: readonly Conversation[]): void {
    for (const c of list) this.putOne(c);
    this.changed("conversations");
  }

  // replace forgets what is not in the list: it was closed while nobody told us.
  replace(open: readonly Conversation[]): void {
    const keep = new Set(open.map(conversationKey));
    for (const [key, c] of this.conversations) if (c.state !== ConversationState.CLOSED && !keep.has(key)) this.conversations.delete(key);
    this.put(open);
  }

  private putOne(c: Conversation): void {
    const known = this.conversations.get(conversationKey(c));
    if (!known || c.number >= known.number) this.conversations.set(conversationKey(c), c);
  }

  // putPage adds a page of a timeline. Holes cannot be seen in seq, so only the newest page and pages
  // that were asked for from its ends may be added.
  putPage(fan: { account: string; openid: string }, page: readonly Message[], more: boolean | undefined): void {
    const known = this.thread(fan);
    this.threads.set(fanKey(fan), { messages: merge(known.messages, page), loaded: true, more: more ?? known.more });
    this.changed();
  }

  // forgetThreads makes every thread be loaded again, after facts were lost for good.
  forgetThreads(): void {
    this.threads.clear();
    this.changed();
  }

  signal(s: DeskSignal): void {
    const key = `${s.account}/${s.conversation}`;
    const people = this.signals.get(key) ?? new Map<string, Colleague>();
    if (s.kind === SignalKind.GONE) people.delete(s.actor);
    else people.set(s.actor, { actor: s.actor, typing: s.kind === SignalKind.TYPING, at: Number(s.atUnixMs) });
    this.signals.set(key, people);
    this.changed("colleagues");
  }

  apply(e: ConversationEvent): void {
    const key = `${e.account}/${e.conversation}`;
    const known = this.conversations.get(key);
    if (known && e.number <= known.number && e.event.case !== "conversationChanged") {
      this.applyToThread(e); // an answer brought the conversation already, but perhaps not its messages
      this.changed();
      return;
    }
    if (known && e.number > known.number + 1n) this.missed(e.account, e.conversation);
    this.applyToThread(e);
    const next = nextConversation(known, e);
    if (next) this.putOne(next);
    else if (!known) this.missed(e.account, e.conversation);
    this.changed("conversations");
  }

  private applyToThread(e: ConversationEvent): void {
    const thread = this.threads.get(fanKey(e));
    if (!thread?.loaded) return;
    const messages = nextMessages(thread.messages, e);
    if (messages !== thread.messages) this.threads.set(fanKey(e), { ...thread, messages });
  }
}

// merge keeps the order of seq and lets the later version of a message win: a settled one over a queued one.
export function merge(a: readonly Message[], b: readonly Message[]): readonly Message[] {
  const last = a.at(-1);
  const first = b[0];
  if (!last || !first || first.seq > last.seq) return a.length === 0 ? b : b.length === 0 ? a : [...a, ...b];
  const bySeq = new Map<bigint, Message>();
  for (const m of a) bySeq.set(m.seq, m);
  for (const m of b) bySeq.set(m.seq, later(bySeq.get(m.seq), m));
  return [...bySeq.values()].sort((x, y) => (x.seq < y.seq ? -1 : x.seq > y.seq ? 1 : 0));
}

// later keeps what became of a message when an answer that left the server before arrives after it.
function later(known: Message | undefined, m: Message): Message {
  return known && m.state === MessageState.QUEUED && known.state > MessageState.QUEUED ? { ...m, state: known.state, reason: known.reason, errcode: known.errcode, sendId: known.sendId || m.sendId } : m;
}

function change(list: readonly Message[], seq: bigint, f: (m: Message) => Message): readonly Message[] {
  const i = list.findIndex((m) => m.seq === seq);
  if (i < 0) return list;
  const copy = [...list];
  copy[i] = f(list[i] as Message);
  return copy;
}

function nextMessages(list: readonly Message[], e: ConversationEvent): readonly Message[] {
  switch (e.event.case) {
    case "messageAdded":
    case "noteAdded":
      return e.event.value.message ? merge(list, [e.event.value.message]) : list;
    case "messageStateChanged": {
      const v = e.event.value;
      return change(list, v.seq, (m) => ({ ...m, state: v.state, reason: v.reason, errcode: v.errcode, sendId: v.sendId || m.sendId }));
    }
    case "mediaChanged": {
      const { media, seq } = e.event.value;
      return media ? change(list, seq, (m) => ({ ...m, media: m.media.some((x) => x.id === media.id) ? m.media.map((x) => (x.id === media.id ? media : x)) : [...m.media, media] })) : list;
    }
    default:
      return list;
  }
}

function nextConversation(known: Conversation | undefined, e: ConversationEvent): Conversation | undefined {
  if (e.event.case === "conversationChanged") {
    const c = e.event.value.conversation;
    return c && { ...c, number: e.number };
  }
  if (!known) return undefined;
  const base: Conversation = { ...known, number: e.number };
  switch (e.event.case) {
    case "messageAdded": {
      const m = e.event.value.message;
      if (!m) return base;
      const fan = m.authorKind === AuthorKind.FAN;
      const agent = m.authorKind === AuthorKind.AGENT;
      return { ...base, unanswered: e.event.value.unanswered, promises: e.event.value.promises, preview: m.text || base.preview, lastSeq: m.seq, lastFanUnixMs: fan ? m.atUnixMs : base.lastFanUnixMs, lastAgentUnixMs: agent ? m.atUnixMs : base.lastAgentUnixMs, firstReplyUnixMs: base.firstReplyUnixMs || (agent ? m.atUnixMs : 0n) };
    }
    case "messageStateChanged": // a message that failed answered nothing
      return e.event.value.promises.length > 0 ? { ...base, promises: e.event.value.promises } : base;
    case "noteAdded":
      return { ...base, lastSeq: e.event.value.message?.seq ?? base.lastSeq };
    case "fanChanged":
      return withFan(base, e.event.value.fan);
    default:
      return base;
  }
}

const withFan = (c: Conversation, fan: Fan | undefined): Conversation => (fan ? { ...c, fanName: fan.name, tags: fan.tags } : c);
