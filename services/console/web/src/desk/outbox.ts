import { Code, ConnectError } from "@connectrpc/connect";
import { ReplyCollisionSchema } from "../gen/wxbus/agentrouting/v1/conversation_service_pb";
import type { Conversation, Message } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import type { Content } from "../gen/wxbus/event/v1/content_pb";
import { DeskStore, fanKey } from "../feed/store";
import type { Clients } from "../rpc/clients";

export type PendingState = "sending" | "offline" | "refused";

// Pending is a message that the timeline does not have yet.
export interface Pending {
  clientId: string;
  account: string;
  openid: string;
  conversation: string;
  content: Content;
  text: string;
  // preview is a picture or a file on this machine.
  preview?: { url: string; type: string; name: string } | undefined;
  state: PendingState;
  error: unknown;
  at: number;
}

export interface Order {
  conversation: Conversation;
  agent: string;
  content: Content;
  text: string;
  // expectedLastSeq is what the agent has seen; zero sends whatever came in between.
  expectedLastSeq: bigint;
  // useKept takes the message of the window that is kept for the end of the conversation.
  useKept?: boolean;
  clientId?: string | undefined;
  preview?: Pending["preview"];
}

export class Collision extends Error {
  constructor(readonly messages: readonly Message[], readonly lastSeq: bigint) {
    super("somebody else wrote in between");
  }
}

const uncertain = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.Unknown, Code.Canceled]);

// Outbox hands messages to the server one after the other for each fan. A message whose request got no
// answer is asked for again with the same id: the server sends it once, however often it is asked.
export class Outbox {
  private pending = new Map<string, Pending[]>();
  private chains = new Map<string, Promise<unknown>>();
  private listeners = new Set<() => void>();
  private changes = 0;

  constructor(
    private readonly clients: Pick<Clients, "conversations">,
    private readonly store: DeskStore,
    private readonly online: () => Promise<void>,
    private readonly now: () => number = Date.now,
  ) {}

  subscribe = (l: () => void): (() => void) => {
    this.listeners.add(l);
    return () => this.listeners.delete(l);
  };
  version = (): number => this.changes;
  list(fan: { account: string; openid: string }): readonly Pending[] {
    return this.pending.get(fanKey(fan)) ?? [];
  }

  private update(key: string, f: (list: Pending[]) => Pending[]): void {
    this.pending.set(key, f(this.pending.get(key) ?? []));
    this.changes++;
    for (const l of this.listeners) l();
  }

  // send resolves when the server has stored the message, and fails when it was refused.
  send(o: Order): Promise<void> {
    const key = fanKey(o.conversation);
    const entry: Pending = {
      clientId: o.clientId ?? crypto.randomUUID(), account: o.conversation.account, openid: o.conversation.openid, conversation: o.conversation.id,
      content: o.content, text: o.text, preview: o.preview, state: "sending", error: undefined, at: this.now(),
    };
    this.update(key, (list) => [...list.filter((p) => p.clientId !== entry.clientId), entry]);
    const before = this.chains.get(key) ?? Promise.resolve();
    const done = before.then(() => this.deliver(key, entry, o), () => this.deliver(key, entry, o));
    this.chains.set(key, done.catch(() => undefined));
    return done;
  }

  private async deliver(key: string, entry: Pending, o: Order): Promise<void> {
    for (;;) {
      try {
        const res = await this.clients.conversations.reply({
          account: entry.account, openid: entry.openid, agent: o.agent, content: entry.content, idempotencyKey: entry.clientId,
          conversation: entry.conversation, expectedLastSeq: o.expectedLastSeq, useKept: o.useKept ?? false,
        });
        if (res.message) this.store.putPage(entry, [res.message], undefined);
        if (res.conversation) this.store.put([res.conversation]);
        this.update(key, (list) => list.filter((p) => p.clientId !== entry.clientId));
        return;
      } catch (err) {
        const e = ConnectError.from(err);
        const [collision] = e.findDetails(ReplyCollisionSchema);
        if (e.code === Code.Aborted && collision) {
          this.update(key, (list) => list.filter((p) => p.clientId !== entry.clientId));
          throw new Collision(collision.messages, collision.lastSeq);
        }
        if (!(err instanceof TypeError) && !uncertain.has(e.code)) {
          this.update(key, (list) => list.map((p) => (p.clientId === entry.clientId ? { ...p, state: "refused", error: err } : p)));
          throw err;
        }
        this.update(key, (list) => list.map((p) => (p.clientId === entry.clientId ? { ...p, state: "offline", error: err } : p)));
        await this.online();
        if (!this.list(entry).some((p) => p.clientId === entry.clientId)) return; // it was discarded meanwhile
        this.update(key, (list) => list.map((p) => (p.clientId === entry.clientId ? { ...p, state: "sending", error: undefined } : p)));
      }
    }
  }

  discard(p: Pending): void {
    this.update(fanKey(p), (list) => list.filter((x) => x.clientId !== p.clientId));
  }
}
