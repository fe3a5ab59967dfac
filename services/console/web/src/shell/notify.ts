import { useEffect, useMemo, useRef } from "react";
import { App } from "antd";
import { useMatch, useNavigate } from "react-router";
import { AuthorKind, ConversationState, MessageState } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { useConversations, useDesk, useFeed } from "../desk/provider";
import { useI18n } from "../i18n";
import { useClients } from "../rpc/clients";
import { say } from "../rpc/error";
import { useMe } from "../session/session";
import { useSecond } from "../ui/clock";
import { attentionOf, showIcon } from "./attention";
import { desktop, onDesktop, startWorker, takeBack } from "./desktop";
import { loadSounds, play } from "./sounds";

const repeatOffer = 5_000;
const offerTag = (c: { account: string; id: string }) => `wxbus-offer-${c.account}/${c.id}`;

// Notifications turns facts and deadlines into sounds, desktop notifications, the title and the icon of the tab.
// It draws nothing itself, so the clock that it follows draws nothing else again.
export function Notifications(): null {
  const { store, me, onEvent } = useDesk();
  const current = useMatch("/desk/:account/:conversation")?.params;
  const { user, displayName } = useMe();
  const { t } = useI18n();
  const go = useNavigate();
  const { conversations } = useClients();
  const { notification } = App.useApp();
  const open = useRef(current);
  open.current = current;

  useEffect(() => onEvent((e, live) => {
    if (!live) return;
    const v = e.event;
    const mine = e.agent === user;
    if (v.case === "conversationChanged" && v.value.to !== ConversationState.OFFERED) void takeBack(offerTag({ account: e.account, id: e.conversation }));
    if (v.case === "conversationChanged" && v.value.to === ConversationState.OFFERED && v.value.conversation?.agent === user) {
      play("offer");
      const c = v.value.conversation;
      if (c) {
        void desktop({
          tag: offerTag(c), title: t("desk.offer.desktop", { name: c.fanName }), body: c.preview, about: { account: c.account, conversation: c.id }, onClick: () => go(`/desk/${c.account}/${c.id}`),
          actions: [{ action: "accept", title: t("offer.accept") }, { action: "decline", title: t("offer.decline") }],
        });
      }
    } else if (v.case === "conversationChanged" && v.value.change === "promise_broken") {
      play("late");
      const c = v.value.conversation;
      if (c && loadSounds().events.late !== "off") void desktop({ tag: `wxbus-late-${c.id}`, title: t("desk.late.desktop", { name: c.fanName }), body: c.preview, about: { account: c.account, conversation: c.id }, onClick: () => go(`/desk/${c.account}/${c.id}`) });
    } else if (v.case === "messageAdded" && mine && v.value.message?.authorKind === AuthorKind.FAN) {
      const shown = open.current?.conversation === e.conversation && document.hasFocus();
      if (!shown) play("message");
    } else if (v.case === "noteAdded" && v.value.message && v.value.message.author !== user) {
      const text = v.value.message.text;
      const forMe = v.value.message.authorKind === AuthorKind.WHISPER ? mine : text.includes(`@${user}`) || text.includes(`@${displayName}`);
      if (forMe) play("mention");
    } else if (v.case === "messageStateChanged" && mine && (v.value.state === MessageState.FAILED || v.value.state === MessageState.AMBIGUOUS)) play("failed");
  }), [onEvent, user, displayName, t, go]);

  useEffect(startWorker, []);
  useEffect(() => onDesktop((about, action) => {
    const ref = { account: about.account, conversation: about.conversation };
    const done = action === "accept" ? conversations.accept({ ...ref, agent: user }) : action === "decline" ? conversations.decline({ ...ref, actor: user }) : undefined;
    if (action !== "decline") void go(`/desk/${about.account}/${about.conversation}`);
    done?.then((res) => res.conversation && store.put([res.conversation]), (err: unknown) => {
      const said = say(err, t);
      notification.error({ title: said.text, description: said.code });
    });
  }), [conversations, user, store, notification, t, go]);

  const version = useConversations();
  const now = useSecond();
  // oxlint-disable-next-line react/exhaustive-deps -- the version stands for what the store holds
  const { offers, count, tone, red } = useMemo(() => attentionOf(store.all(), user, me?.groups ?? [], now), [store, version, user, me, now]);
  useEffect(() => {
    if (offers === 0) return undefined;
    const timer = setInterval(() => play("offer"), repeatOffer);
    return () => clearInterval(timer);
  }, [offers]);

  const { link } = useFeed();
  const was = useRef(link.state);
  useEffect(() => {
    if (was.current === "up" && link.state === "down") play("lost");
    if (was.current === "down" && link.state === "up") play("back");
    was.current = link.state;
  }, [link.state]);

  const toldRed = useRef<ReadonlySet<string>>(undefined);
  useEffect(() => {
    if (version === 0) return; // nothing was loaded yet: what is red then is no news
    const known = toldRed.current;
    toldRed.current = new Set(red);
    if (known && red.some((r) => !known.has(r))) play("red");
  }, [red, version]);

  useEffect(() => showIcon({ count, tone }), [count, tone]);
  const name = current?.account && current.conversation ? store.conversation(current.account, current.conversation)?.fanName : undefined;
  useEffect(() => {
    document.title = `${count > 0 ? `(${count}) ` : ""}${name ? `${name} · ` : ""}wxbus`;
  }, [count, name]);
  return null;
}
