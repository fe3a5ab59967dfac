import { create } from "@bufbuild/protobuf";
import { describe, expect, it, vi } from "vitest";
import { ConversationEventSchema, MessageAddedSchema, MessageStateChangedSchema, type ConversationEvent } from "../gen/wxbus/agentrouting/v1/conversation_events_pb";
import { AuthorKind, ConversationSchema, ConversationState, MessageSchema, MessageState, PromiseSchema, Target } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { DeskStore, merge } from "./store";

const message = (seq: bigint, text = `m${seq}`, kind = AuthorKind.FAN) => create(MessageSchema, { seq, account: "shop", openid: "o1", text, authorKind: kind, atUnixMs: seq * 1000n });
const conversation = (number: bigint, state = ConversationState.ACTIVE) => create(ConversationSchema, { id: "c1", account: "shop", openid: "o1", number, state });
const fact = (number: bigint, event: ConversationEvent["event"]) => create(ConversationEventSchema, { account: "shop", conversation: "c1", openid: "o1", number, event });
const added = (number: bigint, seq: bigint) => fact(number, { case: "messageAdded", value: create(MessageAddedSchema, { message: message(seq), unanswered: 2 }) });
const fan = { account: "shop", openid: "o1" };

function store() {
  const s = new DeskStore();
  s.put([conversation(3n)]);
  s.putPage(fan, [message(1n), message(2n)], false);
  return s;
}

describe("the desk store", () => {
  it("applies facts in order", () => {
    const s = store();
    s.apply(added(4n, 3n));
    expect(s.thread(fan).messages.map((m) => m.seq)).toEqual([1n, 2n, 3n]);
    expect(s.conversation("shop", "c1")).toMatchObject({ number: 4n, unanswered: 2, preview: "m3", lastSeq: 3n });
  });

  it("follows what was promised through messages and their failures", () => {
    const s = store();
    const promise = create(PromiseSchema, { target: Target.NEXT_RESPONSE, dueUnixMs: 9n });
    const event = added(4n, 3n);
    if (event.event.case === "messageAdded") event.event.value.promises = [promise];
    s.apply(event);
    expect(s.conversation("shop", "c1")?.promises).toEqual([promise]);
    s.apply(added(5n, 4n));
    expect(s.conversation("shop", "c1")?.promises).toEqual([]);
    s.apply(fact(6n, { case: "messageStateChanged", value: create(MessageStateChangedSchema, { seq: 4n, state: MessageState.ACCEPTED }) }));
    expect(s.conversation("shop", "c1")?.promises).toEqual([]);
    s.apply(fact(7n, { case: "messageStateChanged", value: create(MessageStateChangedSchema, { seq: 4n, state: MessageState.FAILED, promises: [promise] }) }));
    expect(s.conversation("shop", "c1")?.promises).toEqual([promise]);
  });

  it("lets an answer and the feed cross", () => {
    const s = store();
    s.put([conversation(9n)]);
    s.apply(added(4n, 3n));
    s.apply(added(4n, 3n));
    expect(s.conversation("shop", "c1")?.number).toBe(9n);
    expect(s.thread(fan).messages).toHaveLength(3);
  });

  it("never goes back to an older state", () => {
    const s = store();
    s.apply(fact(2n, { case: "conversationChanged", value: { $typeName: "wxbus.agentrouting.v1.ConversationChanged", conversation: conversation(2n, ConversationState.WAITING) } as never }));
    expect(s.conversation("shop", "c1")?.state).toBe(ConversationState.ACTIVE);
  });

  it("asks again when a number was skipped or a conversation is new", () => {
    const s = store();
    s.missed = vi.fn();
    s.apply(added(6n, 5n));
    s.apply(create(ConversationEventSchema, { account: "shop", conversation: "c9", number: 1n, event: added(1n, 1n).event }));
    expect(s.missed).toHaveBeenCalledTimes(2);
  });

  it("shows what became of a message, and nothing more", () => {
    const s = store();
    s.apply(fact(4n, { case: "messageStateChanged", value: create(MessageStateChangedSchema, { seq: 2n, state: MessageState.FAILED, reason: "unfollowed", errcode: 43004, sendId: "s1" }) }));
    expect(s.thread(fan).messages[1]).toMatchObject({ state: MessageState.FAILED, errcode: 43004, reason: "unfollowed", sendId: "s1" });
  });

  it("keeps what became of a message when its answer arrives late", () => {
    const s = store();
    s.apply(added(4n, 3n));
    s.apply(fact(5n, { case: "messageStateChanged", value: create(MessageStateChangedSchema, { seq: 3n, state: MessageState.ACCEPTED, reason: "", errcode: 0, sendId: "s3" }) }));
    s.putPage(fan, [create(MessageSchema, { ...message(3n), state: MessageState.QUEUED })], undefined);
    expect(s.thread(fan).messages[2]).toMatchObject({ state: MessageState.ACCEPTED, sendId: "s3" });
  });

  it("forgets what closed while nobody told us, and keeps what is closed and shown", () => {
    const s = store();
    s.put([create(ConversationSchema, { id: "c2", account: "shop", openid: "o2", number: 1n, state: ConversationState.CLOSED })]);
    s.replace([]);
    expect([...s.all()].map((c) => c.id)).toEqual(["c2"]);
  });

  it("tells its listeners once for many facts", async () => {
    const s = store();
    const told = vi.fn();
    await Promise.resolve();
    s.subscribe(told);
    for (let i = 4n; i < 104n; i++) s.apply(added(i, i));
    await Promise.resolve();
    expect(told).toHaveBeenCalledTimes(1);
  });

  it("merges pages in any order", () => {
    const pages = [[message(3n), message(4n)], [message(1n), message(2n)], [message(4n, "new"), message(5n)]];
    const list = pages.reduce<readonly ReturnType<typeof message>[]>((a, b) => merge(a, b), []);
    expect(list.map((m) => m.seq)).toEqual([1n, 2n, 3n, 4n, 5n]);
    expect(list[3]?.text).toBe("new");
  });
});
