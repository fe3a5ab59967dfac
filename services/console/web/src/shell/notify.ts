import { useEffect, useRef } from "react";
import { useNavigate } from "react-router";
import { AuthorKind, ConversationState, MessageState } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { useDesk, useFeed, useStore } from "../desk/provider";
import { useI18n } from "../i18n";
import { useMe } from "../session/session";
import { loadSounds, play } from "./sounds";

const repeatOffer = 5_000;

// useNotifications turns facts into sounds, desktop notifications and the title of the tab.
export function useNotifications(current: { account?: string | undefined; conversation?: string | undefined }): void {
  const { onEvent } = useDesk();
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
    } else if (v.case === "messageAdded" && mine && v.value.message?.authorKind === AuthorKind.FAN) {
      const shown = open.current.conversation === e.conversation && document.hasFocus();
      if (!shown) play("message");
    } else if (v.case === "noteAdded" && v.value.message && v.value.message.author !== user) {
      const text = v.value.message.text;
      const forMe = v.value.message.authorKind === AuthorKind.WHISPER ? mine : text.includes(`@${user}`) || text.includes(`@${displayName}`);
      if (forMe) play("mention");
    } else if (v.case === "messageStateChanged" && mine && (v.value.state === MessageState.FAILED || v.value.state === MessageState.AMBIGUOUS)) play("failed");
  }), [onEvent, user, displayName, t, go]);

  const store = useStore();
  const offers = [...store.all()].filter((c) => c.state === ConversationState.OFFERED && c.agent === user).length;
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

  const waiting = [...store.all()].filter((c) => c.agent === user && c.state === ConversationState.ACTIVE && c.unanswered > 0).length + offers;
  const name = current.account && current.conversation ? store.conversation(current.account, current.conversation)?.fanName : undefined;
  useEffect(() => {
    document.title = `${waiting > 0 ? `(${waiting}) ` : ""}${name ? `${name} · ` : ""}wxbus`;
  }, [waiting, name]);
}

function desktop(title: string, body: string, onClick: () => void): void {
  if (!loadSounds().desktop || typeof Notification === "undefined" || Notification.permission !== "granted" || document.hasFocus()) return;
  const n = new Notification(title, { body, tag: "wxbus-offer", icon: "/icon.svg" });
  n.addEventListener("click", () => {
    window.focus();
    onClick();
    n.close();
  });
}
