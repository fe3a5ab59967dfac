import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { ConversationSchema, ConversationState, PromiseSchema, Target, type Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { answerDue, deadlineOf, isLate, listsOf } from "./order";

const now = 1_000_000_000;
const at = (seconds: number) => BigInt(now + seconds * 1000);
const promise = (target: Target, since: number, span: number, broken = false) =>
  create(PromiseSchema, { target, sinceUnixMs: at(since), targetS: span, warnUnixMs: at(since + span * 0.8), dueUnixMs: at(since + span), broken });
const conversation = (id: string, part: Partial<Conversation>) =>
  ({ ...create(ConversationSchema, { id, account: "shop", openid: id, group: "service", openedUnixMs: at(-60), waitingSinceUnixMs: at(-60), lastFanUnixMs: at(-60) }), ...part });
const ids = (list: readonly Conversation[]) => list.map((c) => c.id);

describe("the deadline that matters", () => {
  it("is the offer, then the answer that was promised, then the session", () => {
    const promises = [promise(Target.FIRST_RESPONSE, -60, 100), promise(Target.CLOSE, -60, 3600)];
    expect(deadlineOf(conversation("1", { state: ConversationState.OFFERED, offerUntilUnixMs: at(9), promises }), now)).toMatchObject({ kind: "offer" });
    expect(deadlineOf(conversation("1", { state: ConversationState.WAITING, promises }), now)).toEqual({ kind: "first", at: now + 40_000, total: 100_000, warn: now + 20_000 });
    const answered = { state: ConversationState.ACTIVE, firstReplyUnixMs: at(-50), idleCloseUnixMs: at(900), promises: promises.slice(1) };
    expect(deadlineOf(conversation("1", answered), now)).toMatchObject({ kind: "session" });
    expect(deadlineOf(conversation("1", answered), now + 3_000_000)).toMatchObject({ kind: "close" });
  });

  it("goes by what the page takes for too long where nothing was promised", () => {
    expect(deadlineOf(conversation("1", { state: ConversationState.WAITING }), now)).toMatchObject({ kind: "reply", at: now + 120_000 });
  });

  it("is the first of two answers", () => {
    const c = conversation("1", { state: ConversationState.ACTIVE, promises: [promise(Target.FIRST_RESPONSE, -60, 600), promise(Target.NEXT_RESPONSE, -10, 20)] });
    expect(answerDue(c)?.target).toBe(Target.NEXT_RESPONSE);
  });
});

describe("the queue", () => {
  it("has on top whose time is over first, whoever came first", () => {
    const waits = { state: ConversationState.WAITING };
    const queue = listsOf([
      conversation("patient", { ...waits, waitingSinceUnixMs: at(-170), promises: [promise(Target.FIRST_RESPONSE, -170, 3600)] }),
      conversation("unpromised", { ...waits, waitingSinceUnixMs: at(-100) }),
      conversation("hurried", { ...waits, waitingSinceUnixMs: at(-20), promises: [promise(Target.FIRST_RESPONSE, -20, 60)] }),
      conversation("late", { ...waits, waitingSinceUnixMs: at(-30), promises: [promise(Target.FIRST_RESPONSE, -30, 10, true)] }),
    ], "me", "").queue;
    expect(ids(queue)).toEqual(["late", "hurried", "unpromised", "patient"]);
  });

  it("knows who is late before the server says so, and nobody who is gone", () => {
    const c = conversation("1", { state: ConversationState.ACTIVE, promises: [promise(Target.NEXT_RESPONSE, -60, 59)] });
    expect(isLate(c, now)).toBe(true);
    expect(isLate({ ...c, state: ConversationState.CLOSED }, now)).toBe(false);
    expect(isLate({ ...c, promises: [promise(Target.NEXT_RESPONSE, -60, 61)] }, now)).toBe(false);
  });
});

it("a followed conversation is found wherever it is, and once when a note mentions one as well", () => {
  const all = [
    create(ConversationSchema, { account: "shop", id: "a", state: ConversationState.ACTIVE, agent: "chen" }),
    create(ConversationSchema, { account: "shop", id: "b", state: ConversationState.CLOSED }),
    create(ConversationSchema, { account: "club", id: "a", state: ConversationState.WAITING }),
  ];
  const lists = listsOf(all, "li", "", new Set(["shop/b"]), new Set(["shop/a", "shop/b"]));
  expect([lists.mentioned, lists.followed].map((list) => list.map((c) => `${c.account}/${c.id}`))).toEqual([["shop/b"], ["shop/a"]]);
  expect(listsOf(all, "li", "club", new Set(), new Set(["shop/a"])).followed).toEqual([]);
});
