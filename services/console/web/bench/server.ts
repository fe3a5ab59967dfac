import { create } from "@bufbuild/protobuf";
import { createRouterTransport, type Transport } from "@connectrpc/connect";
import { AgentSchema, AgentService, CannedReplySchema, GroupSchema, Presence } from "../src/gen/wxbus/agentrouting/v1/agent_service_pb";
import { AuthorKind, ConversationSchema, ConversationState, FanSchema, MessageSchema, MessageState, type Conversation, type Message } from "../src/gen/wxbus/agentrouting/v1/conversation_pb";
import { ConversationService } from "../src/gen/wxbus/agentrouting/v1/conversation_service_pb";
import { FeedService, WatchResponseSchema } from "../src/gen/wxbus/console/v1/feed_service_pb";
import { SessionService } from "../src/gen/wxbus/console/v1/session_service_pb";
import { StatusService } from "../src/gen/wxbus/console/v1/status_service_pb";
import { ColleagueSchema, Role, UserService } from "../src/gen/wxbus/console/v1/user_service_pb";
import { QuotaClass, SenderService } from "../src/gen/wxbus/sender/v1/sender_service_pb";
import { textContent } from "../src/desk/content";

const words = ["我订的 YL8213 明早虹桥到昆明，想改到下午，还能改吗？", "行李没到，已经等了两个小时了", "会员积分明天 0 点前到账", "停车券核销了但出口还是让我付 45 块，车牌没写错，麻烦看一下", "Can I add a lap infant to my booking?", "改到下午三点以后都行，最好靠窗，我带着孩子。", "好的，谢谢"];
const all = [ConversationService, AgentService, SenderService, UserService, SessionService, StatusService, FeedService];
const me = "zhou";

function people(count: number, now: number): Conversation[] {
  return Array.from({ length: count }, (_, i) => {
    const account = ["shop", "air", "mall"][i % 3] ?? "shop";
    const openid = `o${i}`;
    const mine = i % 10 === 0;
    const since = BigInt(now - (i * 7_919) % 900_000);
    return create(ConversationSchema, {
      id: `c${i}`, account, openid, state: mine ? ConversationState.ACTIVE : i % 2 ? ConversationState.WAITING : ConversationState.ACTIVE, group: "service", agent: mine ? me : i % 2 ? "" : "li", number: 3n,
      openedUnixMs: since, stateSinceUnixMs: since, waitingSinceUnixMs: i % 2 ? since : 0n, acceptedUnixMs: since, firstReplyUnixMs: i % 4 ? since : 0n, idleCloseUnixMs: since + 1_800_000n, lastFanUnixMs: since, lastAgentUnixMs: since,
      lastSeq: 10n, unanswered: i % 4, preview: words[i % words.length] ?? "", fanName: `粉丝 ${i}`, tags: i % 5 === 0 ? ["金卡"] : [],
    });
  });
}

function talk(c: Conversation, count: number, now: number): Message[] {
  return Array.from({ length: count }, (_, i) => {
    const fan = i % 3 !== 0;
    const text = (words[i % words.length] ?? "").repeat(1 + (i % 3));
    return create(MessageSchema, {
      seq: BigInt(i + 1), account: c.account, openid: c.openid, conversation: c.id, msgType: "text", text, authorKind: fan ? AuthorKind.FAN : AuthorKind.AGENT, author: fan ? "" : me,
      state: fan ? MessageState.UNSPECIFIED : MessageState.ACCEPTED, content: fan ? undefined : textContent(text), atUnixMs: BigInt(now - (count - i) * 30_000),
    });
  });
}

// fakeServer answers like the console's server, out of memory.
export function fakeServer(size: { conversations: number; messages: number }): Transport {
  const now = Date.now();
  const list = people(size.conversations, now);
  const first = list.find((c) => c.agent === me);
  const threads = new Map<string, Message[]>();
  const threadOf = (openid: string) => {
    const c = list.find((x) => x.openid === openid) as Conversation;
    const known = threads.get(openid) ?? talk(c, c === first ? size.messages : 60, now);
    threads.set(openid, known);
    return known;
  };
  const methods = all.flatMap((s) => s.methods.map((m) => `${s.typeName}/${m.name}`));
  return createRouterTransport(({ service }) => {
    service(SessionService, { getSession: () => ({ session: { user: { name: me, displayName: "周可", roles: [Role.AGENT], accounts: ["*"] }, methods }, serverUnixMs: BigInt(Date.now()) }) });
    service(StatusService, { getStatus: () => ({ accounts: ["shop", "air", "mall"].map((name) => ({ name })) }) });
    service(UserService, { listColleagues: () => ({ colleagues: [create(ColleagueSchema, { name: "li", displayName: "李思远" }), create(ColleagueSchema, { name: me, displayName: "周可" })] }) });
    service(SenderService, { getQuota: () => ({ remaining: 3, reserved: 1, class: QuotaClass.OPEN, deadlineUnixMs: BigInt(now + 148_329_000) }) });
    service(AgentService, {
      listAgents: () => ({ agents: [create(AgentSchema, { id: me, name: "周可", presence: Presence.ONLINE, load: 3, effectiveCapacity: 5 }), create(AgentSchema, { id: "li", name: "李思远", presence: Presence.ONLINE, load: 2, effectiveCapacity: 5 })] }),
      listGroups: () => ({ groups: [create(GroupSchema, { id: "service", name: "国内改签组", waiting: 9 })] }),
      listCannedReplies: () => ({ replies: [create(CannedReplySchema, { id: "1", shortcut: "gq", title: "改签办妥，发新行程", blocks: [{ content: textContent("您好，{fan.name}") }] })] }),
      heartbeat: () => ({}), setPresence: () => ({ heartbeatS: 15 }),
    });
    service(ConversationService, {
      listConversations(req) {
        const at = Number(req.pageToken || 0);
        const next = at + (req.pageSize || 50);
        return { conversations: list.slice(at, next), nextPageToken: next < list.length ? String(next) : "", total: list.length };
      },
      listMessages(req) {
        const thread = threadOf(req.openid);
        const until = req.beforeSeq > 0n ? Number(req.beforeSeq) - 1 : thread.length;
        const from = Math.max(0, until - (req.limit || 50));
        return { messages: thread.slice(from, until), more: from > 0 };
      },
      getConversation: (req) => ({ conversation: list.find((c) => c.id === req.conversation) }),
      getFan: (req) => ({ fan: create(FanSchema, { account: req.account, openid: req.openid, name: req.openid, friendlyName: req.openid, subscribed: true }) }),
      setTyping: () => ({}),
    });
    service(FeedService, {
      async *watch(_, context) {
        yield create(WatchResponseSchema, { seq: 184_220n, item: { case: "caughtUp", value: { replayed: 0n } } });
        await new Promise((done) => context.signal.addEventListener("abort", done));
      },
    });
  });
}
