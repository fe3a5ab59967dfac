import { ConversationState, type Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
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

export type Tab = "mine" | "queue" | "all" | "closed";

export interface Lists {
  offers: Conversation[];
  mine: Conversation[];
  queue: Conversation[];
  all: Conversation[];
  closed: Conversation[];
}

const byRisk = (now: number) => (a: Conversation, b: Conversation) => risk(deadlineOf(a, now), now) - risk(deadlineOf(b, now), now) || Number(a.openedUnixMs - b.openedUnixMs) || (a.id < b.id ? -1 : 1);

// listsOf sorts who is where. Offers first, then own rows by least time left, then the queue by the same.
export function listsOf(all: Iterable<Conversation>, user: string, account: string, now: number): Lists {
  const lists: Lists = { offers: [], mine: [], queue: [], all: [], closed: [] };
  for (const c of all) {
    if (account && c.account !== account) continue;
    if (c.state === ConversationState.CLOSED) {
      lists.closed.push(c);
      continue;
    }
    lists.all.push(c);
    if (c.state === ConversationState.OFFERED && c.agent === user) lists.offers.push(c);
    else if (c.state === ConversationState.WAITING || c.state === ConversationState.LEFT_MESSAGE || c.state === ConversationState.OFFERED) lists.queue.push(c);
    else if (c.agent === user) lists.mine.push(c);
  }
  const order = byRisk(now);
  lists.offers.sort((a, b) => Number(a.offerUntilUnixMs - b.offerUntilUnixMs));
  lists.mine.sort(order);
  lists.queue.sort((a, b) => Number((a.waitingSinceUnixMs || a.openedUnixMs) - (b.waitingSinceUnixMs || b.openedUnixMs)));
  lists.all.sort(order);
  lists.closed.sort((a, b) => Number(b.closedUnixMs - a.closedUnixMs));
  return lists;
}
