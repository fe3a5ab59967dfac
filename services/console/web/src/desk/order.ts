import { ConversationState, Target, type Conversation, type Promise } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { conversationKey } from "../feed/store";
import type { Deadline } from "../ui/ring";
import { risk } from "../ui/tone";

// Times that the page needs before the server has told them, in milliseconds.
export const targets = { firstReply: 180_000, session: 1_800_000, window: 172_800_000, offer: 30_000 };

const kinds = { [Target.UNSPECIFIED]: "first", [Target.FIRST_RESPONSE]: "first", [Target.NEXT_RESPONSE]: "next", [Target.CLOSE]: "close" } as const;

// promised is a promise as a deadline: the ring drains from when the fan began to wait.
export const promised = (p: Promise): Deadline => ({ kind: kinds[p.target], at: Number(p.dueUnixMs), total: Math.max(1, Number(p.dueUnixMs - p.sinceUnixMs)), warn: Number(p.warnUnixMs) });

// answerDue returns the promise of an answer that is due first.
export function answerDue(c: Conversation): Promise | undefined {
  return c.promises.filter((p) => p.target !== Target.CLOSE).reduce<Promise | undefined>((a, b) => (a && a.dueUnixMs <= b.dueUnixMs ? a : b), undefined);
}

// isLate tells whether a promise to the fan is broken and not made good.
export const isLate = (c: Conversation, now: number): boolean => c.state !== ConversationState.CLOSED && c.promises.some((p) => p.broken || Number(p.dueUnixMs) <= now);

// deadlineOf picks the deadline that matters next: the offer, then what the group promised, then the session and the window.
export function deadlineOf(c: Conversation, now: number): Deadline | undefined {
  const ms = (v: bigint) => Number(v);
  if (c.state !== ConversationState.OFFERED && c.state !== ConversationState.CLOSED) {
    const answer = answerDue(c);
    if (answer) return promised(answer);
    const end = c.promises.find((p) => p.target === Target.CLOSE);
    if (end && now >= Number(end.warnUnixMs)) return promised(end);
  }
  switch (c.state) {
    case ConversationState.OFFERED:
      return { kind: "offer", at: ms(c.offerUntilUnixMs), total: Math.max(1, ms(c.offerUntilUnixMs) - ms(c.stateSinceUnixMs)) };
    case ConversationState.WAITING:
      return { kind: "reply", at: ms(c.waitingSinceUnixMs || c.openedUnixMs) + targets.firstReply, total: targets.firstReply };
    case ConversationState.ACTIVE: {
      if (!c.firstReplyUnixMs) return { kind: "reply", at: ms(c.acceptedUnixMs || c.stateSinceUnixMs) + targets.firstReply, total: targets.firstReply };
      if (c.idleCloseUnixMs) return { kind: "session", at: ms(c.idleCloseUnixMs), total: Math.max(targets.session, ms(c.idleCloseUnixMs) - now) };
      return windowOf(c);
    }
    case ConversationState.ON_HOLD:
    case ConversationState.LEFT_MESSAGE:
      return windowOf(c);
    default:
      return undefined;
  }
}

function windowOf(c: Conversation): Deadline | undefined {
  const last = Number(c.lastFanUnixMs);
  return last > 0 ? { kind: "window", at: last + targets.window, total: targets.window } : undefined;
}

export type Tab = "mine" | "queue" | "followed" | "all" | "closed";

export interface Lists {
  offers: Conversation[];
  mine: Conversation[];
  queue: Conversation[];
  mentioned: Conversation[]; // a note of a colleague names this person
  followed: Conversation[]; // without those above
  all: Conversation[];
  closed: Conversation[];
}

// sorted puts the least first. What it sorts by is computed once for each row, not once for each comparison.
function sorted(list: readonly Conversation[], by: (c: Conversation) => number): Conversation[] {
  const rows = list.map((c) => ({ c, by: by(c), opened: Number(c.openedUnixMs) }));
  rows.sort((a, b) => a.by - b.by || a.opened - b.opened || (a.c.id < b.c.id ? -1 : 1));
  return rows.map((r) => r.c);
}

const byRisk = (list: readonly Conversation[], now: number) => sorted(list, (c) => risk(deadlineOf(c, now), now));

// risky is when a fan of the queue has waited too long: when the promise is due, or what the page takes for too long. It stands still,
// and a promise never moves to later, so nobody moves down the queue.
function risky(c: Conversation): number {
  const answer = answerDue(c);
  return answer ? Number(answer.dueUnixMs) : Number(c.waitingSinceUnixMs || c.openedUnixMs) + targets.firstReply;
}

const nothing: ReadonlySet<string> = new Set();

// listsOf tells who is where, in the order that no clock changes: offers by their end, the queue by whose time is over first.
export function listsOf(all: Iterable<Conversation>, user: string, account: string, mentioned = nothing, followed = nothing): Lists {
  const lists: Lists = { offers: [], mine: [], queue: [], mentioned: [], followed: [], all: [], closed: [] };
  for (const c of all) {
    if (account && c.account !== account) continue;
    const key = conversationKey(c);
    if (mentioned.has(key)) lists.mentioned.push(c);
    else if (followed.has(key)) lists.followed.push(c);
    if (c.state === ConversationState.CLOSED) {
      lists.closed.push(c);
      continue;
    }
    lists.all.push(c);
    if (c.state === ConversationState.OFFERED && c.agent === user) lists.offers.push(c);
    else if (c.state === ConversationState.WAITING || c.state === ConversationState.LEFT_MESSAGE || c.state === ConversationState.OFFERED) lists.queue.push(c);
    else if (c.agent === user) lists.mine.push(c);
  }
  lists.offers = sorted(lists.offers, (c) => Number(c.offerUntilUnixMs));
  lists.queue = sorted(lists.queue, risky);
  lists.mentioned = sorted(lists.mentioned, (c) => -Number(c.lastFanUnixMs));
  lists.followed = sorted(lists.followed, (c) => -Number(c.lastFanUnixMs));
  lists.closed = sorted(lists.closed, (c) => -Number(c.closedUnixMs));
  return lists;
}

// byUrgency puts least time left first, as it is now: in the own rows, and in all of them while they are shown.
export function byUrgency(lists: Lists, tab: Tab, now: number): Lists {
  return { ...lists, mine: byRisk(lists.mine, now), all: tab === "all" ? byRisk(lists.all, now) : lists.all };
}
