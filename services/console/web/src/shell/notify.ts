import { useEffect, useMemo, useRef } from "react";
import { useMatch, useNavigate } from "react-router";
import { AuthorKind, ConversationState, MessageState } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { useConversations, useDesk, useFeed } from "../desk/provider";
import { useI18n } from "../i18n";
import { useMe } from "../session/session";
import { useSecond } from "../ui/clock";
import { attentionOf, showIcon } from "./attention";
import { loadSounds, play } from "./sounds";

const repeatOffer = 5_000;

// Notifications turns facts and deadlines into sounds, desktop notifications, the title and the icon of the tab.
// It draws nothing itself, so the clock that it follows draws nothing else again.
export function Notifications(): null {
  const { store, me, onEvent } = useDesk();
  const current = useMatch("/desk/:account/:conversation")?.params;
  const { user, displayName } = useMe();
  const { t } = useI18n();
  const go = useNavigate();
  const open = useRef(current);
  open.current = current;

  useEffect(() => onEvent((e, live) => {
    if (!live) return;
    const v = e.event;
    const mine = e.agent === user;
    if (v.case === "conversationChanged" && v.value.to === ConversationState.OFFERED && v.value.conversation?.agent === user) {
      play("offer");
      const c = v.value.conversation;
      if (c) desktop(t("desk.offer.desktop", { name: c.fanName }), c.preview, () => go(`/desk/${c.account}/${c.id}`));
    } else if (v.case === "conversationChanged" && v.value.change === "promise_broken") {
      play("late");
      const c = v.value.conversation;
      if (c && loadSounds().events.late !== "off") desktop(t("desk.late.desktop", { name: c.fanName }), c.preview, () => go(`/desk/${c.account}/${c.id}`), `wxbus-late-${c.id}`);
    } else if (v.case === "messageAdded" && mine && v.value.message?.authorKind === AuthorKind.FAN) {
      const shown = open.current?.conversation === e.conversation && document.hasFocus();
      if (!shown) play("message");
    } else if (v.case === "noteAdded" && v.value.message && v.value.message.author !== user) {
      const text = v.value.message.text;
      const forMe = v.value.message.authorKind === AuthorKind.WHISPER ? mine : text.includes(`@${user}`) || text.includes(`@${displayName}`);
      if (forMe) play("mention");
    } else if (v.case === "messageStateChanged" && mine && (v.value.state === MessageState.FAILED || v.value.state === MessageState.AMBIGUOUS)) play("failed");
  }), [onEvent, user, displayName, t, go]);

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

function desktop(title: string, body: string, onClick: () => void, tag = "wxbus-offer"): void {
  if (!loadSounds().desktop || typeof Notification === "undefined" || Notification.permission !== "granted" || document.hasFocus()) return;
  const n = new Notification(title, { body, tag, icon: "/icon.svg" });
  n.addEventListener("click", () => {
    window.focus();
    onClick();
    n.close();
  });
}
