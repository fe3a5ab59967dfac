import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { ConversationEventSchema } from "../gen/wxbus/agentrouting/v1/conversation_events_pb";
import { FeedService, WatchResponseSchema, type WatchRequest, type WatchResponse } from "../gen/wxbus/console/v1/feed_service_pb";
import { clientsOf } from "../rpc/clients";
import { Feed } from "./feed";

const event = (seq: bigint, number = seq): WatchResponse =>
  create(WatchResponseSchema, { seq, item: { case: "event", value: { fact: { case: "conversationEvent", value: create(ConversationEventSchema, { account: "shop", conversation: "c1", number }) } } } });
const caughtUp = (seq: bigint, replayed: bigint): WatchResponse => create(WatchResponseSchema, { seq, item: { case: "caughtUp", value: { replayed } } });

type Script = (req: WatchRequest, stop: () => void) => AsyncIterable<WatchResponse>;

// play runs a feed against scripted connections, one script for each attempt.
async function play(scripts: Script[]) {
  const seen: [bigint, boolean][] = [];
  const asked: (bigint | undefined)[] = [];
  const links: string[] = [];
  let reloads = 0;
  const transport = createRouterTransport(({ service }) => {
    service(FeedService, {
      watch(req) {
        asked.push(req.afterSeq);
        const script = scripts[asked.length - 1];
        if (!script) {
          feed.stop();
          throw new ConnectError("the play is over", Code.Unavailable);
        }
        return script(req, () => feed.stop());
      },
    });
  });
  const feed: Feed = new Feed({
    clients: clientsOf(transport), onEvent: (e, live) => seen.push([e.number, live]), onSignal: () => undefined,
    reload: async () => void reloads++, sleep: async () => undefined, random: () => 0.5, now: () => 1000,
  });
  feed.subscribe(() => {
    const { state } = feed.state.link;
    if (links.at(-1) !== state) links.push(state);
  });
  await feed.run();
  return { seen, asked, links, reloads, feed };
}

describe("the live feed", () => {
  it("resumes after a cut without a gap and without a repetition", async () => {
    const { seen, asked, links, reloads, feed } = await play([
      async function* () {
        yield caughtUp(10n, 0n);
        yield event(11n);
        yield event(12n);
        throw new ConnectError("cut", Code.Unavailable);
      },
      async function* () {
        yield event(12n); // a server that repeats the last one must not hurt
        yield event(13n);
        yield event(14n);
        yield caughtUp(14n, 2n);
        yield event(15n);
      },
    ]);
    expect(asked.slice(0, 2)).toEqual([undefined, 12n]);
    expect(seen).toEqual([[11n, true], [12n, true], [13n, false], [14n, false], [15n, true]]);
    expect(links.slice(0, 3)).toEqual(["up", "down", "up"]);
    expect(reloads).toBe(1);
    expect(feed.state.caughtUp).toMatchObject({ count: 2, from: 12n, to: 14n, reloaded: false });
    expect(feed.state.seq).toBe(15n);
  });

  it("starts at the present and loads everything when the past is no longer kept", async () => {
    const { asked, reloads, feed } = await play([
      async function* () {
        yield caughtUp(10n, 0n);
        yield event(11n);
        throw new ConnectError("cut", Code.Unavailable);
      },
      // oxlint-disable-next-line require-yield
      async function* () {
        throw new ConnectError("gone", Code.OutOfRange);
      },
      async function* () {
        yield caughtUp(5000n, 0n);
      },
    ]);
    expect(asked.slice(0, 3)).toEqual([undefined, 11n, undefined]);
    expect(reloads).toBe(2);
    expect(feed.state.caughtUp?.reloaded).toBe(true);
  });

  it("counts its tries and says when the next one is", async () => {
    const refuse: Script = () => {
      throw new ConnectError("down", Code.Unavailable);
    };
    const { feed } = await play([refuse, refuse, refuse]);
    expect(feed.state.link).toMatchObject({ state: "down", retry: 3, since: 1000, nextAt: 3000 });
  });
});
