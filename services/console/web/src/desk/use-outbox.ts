import { useMemo, useSyncExternalStore } from "react";
import type { Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { useClients } from "../rpc/clients";
import { useDesk } from "./provider";
import { Outbox } from "./outbox";
import type { Feed } from "../feed/feed";
import type { Clients } from "../rpc/clients";
import type { DeskStore } from "../feed/store";

// One outbox for the page: it outlives the thread that it was filled from.
const boxes = new WeakMap<DeskStore, Outbox>();

function outboxOf(clients: Clients, store: DeskStore, feed: Feed): Outbox {
  const known = boxes.get(store);
  if (known) return known;
  const box = new Outbox(clients, store, () => up(feed));
  boxes.set(store, box);
  return box;
}

const pause = 2_000; // a link that is up although the call failed

// up resolves when the feed has a link.
function up(feed: Feed): Promise<void> {
  return new Promise((done) => {
    setTimeout(() => {
      if (feed.read().link.state === "up") return done();
      const stop = feed.subscribe(() => {
        if (feed.read().link.state !== "up") return;
        stop();
        done();
      });
      return undefined;
    }, pause);
  });
}

export function useOutbox(c: Conversation) {
  const clients = useClients();
  const { store, feed } = useDesk();
  const outbox = useMemo(() => outboxOf(clients, store, feed), [clients, store, feed]);
  useSyncExternalStore(outbox.subscribe, outbox.version);
  return { outbox, pending: outbox.list(c) };
}
