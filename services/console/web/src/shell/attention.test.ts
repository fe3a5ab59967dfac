import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { ConversationSchema, ConversationState, type Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { attentionOf, iconOf } from "./attention";

const now = 1_000_000_000;
const ago = (seconds: number) => BigInt(now - seconds * 1000);
const conversation = (id: string, part: Partial<Conversation>) =>
  ({ ...create(ConversationSchema, { id, account: "shop", openid: id, group: "service", openedUnixMs: ago(10), stateSinceUnixMs: ago(10) }), ...part });

describe("attention", () => {
  it("counts offers and unanswered conversations of one's own, and nobody else's", () => {
    const a = attentionOf([
      conversation("1", { state: ConversationState.OFFERED, agent: "me", offerUntilUnixMs: BigInt(now + 20_000) }),
      conversation("2", { state: ConversationState.ACTIVE, agent: "me", unanswered: 2, acceptedUnixMs: ago(5) }),
      conversation("3", { state: ConversationState.ACTIVE, agent: "me", unanswered: 0, acceptedUnixMs: ago(900) }),
      conversation("4", { state: ConversationState.ACTIVE, agent: "other", unanswered: 5, acceptedUnixMs: ago(900) }),
      conversation("5", { state: ConversationState.WAITING, waitingSinceUnixMs: ago(5) }),
    ], "me", ["service"], now);
    expect(a).toMatchObject({ offers: 1, count: 2, tone: "amber", red: [] });
  });

  it("is red when somebody waits too long in one's own group, and names the deadline", () => {
    const late = conversation("6", { state: ConversationState.WAITING, waitingSinceUnixMs: ago(170) });
    expect(attentionOf([late], "me", ["service"], now)).toMatchObject({ count: 0, tone: "red", red: [`shop/6/reply/${now + 10_000}`] });
    expect(attentionOf([late], "me", ["sales"], now)).toMatchObject({ tone: "calm", red: [] });
  });

  it("draws the count and the tone", () => {
    expect(iconOf({ count: 120, tone: "red" })).toContain(">99<");
    expect(iconOf({ count: 120, tone: "red" })).toContain("#D64545");
    expect(iconOf({ count: 0, tone: "calm" })).not.toContain("<text");
  });
});
