import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { ConversationSchema, ConversationState } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { listsOf } from "./order";

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
