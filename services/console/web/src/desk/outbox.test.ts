import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { AuthorKind, ConversationSchema, MessageSchema } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { ConversationService, ReplyCollisionSchema, type ReplyRequest } from "../gen/wxbus/agentrouting/v1/conversation_service_pb";
import { DeskStore } from "../feed/store";
import { clientsOf } from "../rpc/clients";
import { textContent } from "./content";
import { Collision, Outbox } from "./outbox";

const conversation = create(ConversationSchema, { id: "c1", account: "shop", openid: "o1", number: 1n });

function outbox(answer: (req: ReplyRequest, call: number) => object) {
  const asked: ReplyRequest[] = [];
  const transport = createRouterTransport(({ service }) => service(ConversationService, {
    reply(req) {
      asked.push(req);
      return answer(req, asked.length) as never;
    },
  }));
  const store = new DeskStore();
  store.putPage(conversation, [], false);
  return { asked, store, box: new Outbox(clientsOf(transport), store, async () => undefined) };
}

const order = (text: string, expectedLastSeq = 0n) => ({ conversation, agent: "zhou", content: textContent(text), text, expectedLastSeq });
const stored = (req: ReplyRequest, seq: number) => ({ message: create(MessageSchema, { seq: BigInt(seq), account: "shop", openid: "o1", clientId: req.idempotencyKey, authorKind: AuthorKind.AGENT }) });

describe("the outbox", () => {
  it("takes what is kept for the end only when it is told to", async () => {
    const { asked, box } = outbox((req, call) => stored(req, call));
    await box.send(order("hello"));
    await box.send({ ...order("one more"), useKept: true });
    expect(asked.map((r) => r.useKept)).toEqual([false, true]);
  });

  it("asks again with the same id when there was no answer", async () => {
    const { asked, box, store } = outbox((req, call) => {
      if (call < 3) throw new ConnectError("cut", Code.Unavailable);
      return stored(req, 7);
    });
    await box.send(order("hello"));
    expect(new Set(asked.map((r) => r.idempotencyKey)).size).toBe(1);
    expect(asked).toHaveLength(3);
    expect(store.thread(conversation).messages).toHaveLength(1);
    expect(box.list(conversation)).toEqual([]);
  });

  it("keeps the order of one fan's messages", async () => {
    const { asked, box } = outbox((req, call) => {
      if (call === 1) throw new ConnectError("cut", Code.Unavailable);
      return stored(req, call);
    });
    await Promise.all([box.send(order("one")), box.send(order("two")), box.send(order("three"))]);
    expect(asked.map((r) => (r.content?.body.case === "text" ? r.content.body.value.content : ""))).toEqual(["one", "one", "two", "three"]);
  });

  it("hands a collision back instead of sending", async () => {
    const { box } = outbox(() => {
      throw new ConnectError("collision", Code.Aborted, undefined, [{ desc: ReplyCollisionSchema, value: { messages: [create(MessageSchema, { seq: 9n, text: "I was faster" })], lastSeq: 9n } }]);
    });
    const err = await box.send(order("slow", 8n)).catch((e: unknown) => e);
    expect(err).toBeInstanceOf(Collision);
    expect((err as Collision).lastSeq).toBe(9n);
    expect(box.list(conversation)).toEqual([]);
  });

  it("shows a refusal and goes on with the next message", async () => {
    const { box } = outbox((req, call) => {
      if (call === 1) throw new ConnectError("window closed", Code.FailedPrecondition);
      return stored(req, call);
    });
    const first = box.send(order("one")).catch((e: unknown) => e);
    await box.send(order("two"));
    expect(await first).toBeInstanceOf(ConnectError);
    expect(box.list(conversation)).toMatchObject([{ text: "one", state: "refused" }]);
  });
});
