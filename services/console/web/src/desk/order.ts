import { ConversationState, type Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { conversationKey } from "../feed/store";
import type { Deadline } from "../ui/ring";
import { risk } from "../ui/tone";

// Times that the page needs before the server has told them, in milliseconds.
export const targets = { firstReply: 180_000, session: 1_800_000, window: 172_800_000, offer: 30_000 };

// deadlineOf picks the deadline that matters next.
export function deadlineOf(c: Conversation, now: number): Deadline | undefined {
  const ms = (v: bigint) => Number(v);
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
const waitingSince = (c: Conversation) => Number(c.waitingSinceUnixMs || c.openedUnixMs);

const nothing: ReadonlySet<string> = new Set();

// listsOf tells who is where, in the order that no clock changes: offers by their end, the queue by who waits longest.
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
  lists.queue = sorted(lists.queue, waitingSince);
  lists.mentioned = sorted(lists.mentioned, (c) => -Number(c.lastFanUnixMs));
  lists.followed = sorted(lists.followed, (c) => -Number(c.lastFanUnixMs));
  lists.closed = sorted(lists.closed, (c) => -Number(c.closedUnixMs));
  return lists;
}

// byUrgency puts least time left first, as it is now: in the own rows, and in all of them while they are shown.
export function byUrgency(lists: Lists, tab: Tab, now: number): Lists {
  return { ...lists, mine: byRisk(lists.mine, now), all: tab === "all" ? byRisk(lists.all, now) : lists.all };
}
