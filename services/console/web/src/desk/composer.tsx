import { useQuery } from "@tanstack/react-query";
import { App, Button, Tooltip } from "antd";
import { memo, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { SignalKind } from "../gen/wxbus/agentrouting/v1/conversation_events_pb";
import { AuthorKind, type Conversation, type Message } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import type { Content } from "../gen/wxbus/event/v1/content_pb";
import { MediaType } from "../gen/wxbus/sender/v1/sender_service_pb";
import { useI18n } from "../i18n";
import { useKeys } from "../keys/keys";
import { useClients } from "../rpc/clients";
import { say } from "../rpc/error";
import { useMe } from "../session/session";
import { clock } from "../ui/clock";
import { Icon } from "../ui/icon";
import { Kbd } from "../ui/parts";
import { useChanged, useKept, useStable } from "../ui/stable";
import { fanKey } from "../feed/store";
import { CardDialog, cardTitle } from "./card";
import { EmojiTool } from "./emoji";
import { CannedPopup, type CannedChoice } from "./canned";
import { Chips, forAgents, useQuota, WindowClosed } from "./chips";
import { imageContent, kindOf, textContent, videoContent, voiceContent } from "./content";
import { loadDraft, saveDraft, type Draft } from "./draft";
import { Guard } from "./guard";
import { Mentions } from "./mentions";
import { Collision, type Outbox } from "./outbox";
import { bytesOf, messageBytes, splitText } from "./split";
import { useDesk } from "./provider";
import { useWanted } from "./thread-pane";

interface Props {
  conversation: Conversation;
  messages: readonly Message[];
  outbox: Outbox;
  nameOf(id: string): string;
  wanted: "reply" | "note" | undefined;
  onWanted(): void;
  onHold(): void;
}

interface Staged {
  content: Content;
  text: string;
  preview?: { url: string; type: string; name: string } | undefined;
}

// Writing is what somebody is about to say to one fan.
interface Writing {
  draft: Draft;
  staged: readonly Staged[];
  guard: readonly Message[] | undefined;
}

const typingEvery = 4_000;
const limits = { image: 10, voice: 2, video: 10 } as const; // MB, as WeChat takes them

export function Composer({ conversation: c, messages, outbox, nameOf, wanted, onWanted, onHold }: Props) {
  const { t, number } = useI18n();
  const { conversations, sender } = useClients();
  const { user } = useMe();
  const { store } = useDesk();
  const { notification } = App.useApp();
  const keys = useKeys();
  const area = useRef<HTMLTextAreaElement>(null);
  const fan = fanKey(c);
  const [{ draft, staged, guard }, write] = useKept<Writing>(fan, () => ({ draft: loadDraft(c) ?? { text: "", note: false, sinceSeq: 0n, startedAt: 0 }, staged: [], guard: undefined }));
  const setStaged = (change: (list: readonly Staged[]) => readonly Staged[]) => write((w) => ({ ...w, staged: change(w.staged) }));
  const setGuard = (messages: readonly Message[] | undefined) => write((w) => ({ ...w, guard: messages }));
  const [canned, setCanned] = useState(false);
  const [card, setCard] = useState(false);
  if (useChanged(fan)) {
    setCanned(false);
    setCard(false);
  }
  const quota = useQuota(c, messages.length);
  const lastSeq = messages.at(-1)?.seq ?? 0n;
  const { text, note } = draft;

  const change = useCallback((part: Partial<Draft>) => {
    write((w) => {
      const next = { ...w.draft, ...part };
      if (!w.draft.text && next.text) Object.assign(next, { sinceSeq: lastSeq, startedAt: clock.now() });
      saveDraft(c, next);
      return { ...w, draft: next };
    });
  }, [c, lastSeq, write]);
  const focus = useCallback((as: "reply" | "note") => {
    change({ note: as === "note" });
    requestAnimationFrame(() => area.current?.focus());
  }, [change]);
  useWanted(wanted, onWanted, focus);
  const tellTyping = useTyping(c);
  useGrowing(area, fan, text);

  const parts = useMemo(() => (note ? [] : splitText(text)), [text, note]);
  const cost = parts.length + staged.length;
  const left = quota.data ? forAgents(c, quota) - cost : undefined;
  const closed = quota.closed;
  const tooMany = !note && quota.data !== undefined && cost > quota.data.remaining;
  // usesKept asks for one more decision: the end of the conversation will not fit.
  const usesKept = !note && !tooMany && left !== undefined && left < 0;
  const query = !note && /^\/[^\s/]*$/.test(text) ? text.slice(1) : undefined;
  const popup = canned || query !== undefined;

  const fail = (err: unknown) => notification.error({ title: say(err, t).text, description: say(err, t).code });

  const saveNote = async () => {
    const body = text.trim();
    if (!body) return;
    try {
      const res = await conversations.addNote({ account: c.account, conversation: c.id, actor: user, text: body, idempotencyKey: crypto.randomUUID() });
      if (res.message) store.putPage(c, [res.message], undefined);
      change({ text: "" });
    } catch (err) {
      fail(err);
    }
  };

  const between = () => messages.filter((m) => m.seq > draft.sinceSeq && m.authorKind === AuthorKind.AGENT && m.author !== user);
  const send = (anyway: boolean) => {
    if (closed || tooMany || cost === 0) return;
    const moved = text.trim() ? between() : [];
    if (!anyway && moved.length > 0) {
      setGuard(moved);
      return;
    }
    setGuard(undefined);
    const batch: Staged[] = [...staged, ...parts.map((p) => ({ content: textContent(p), text: p }))];
    const kept = text;
    change({ text: "", sinceSeq: 0n });
    setStaged(() => []);
    batch.forEach((b, i) => {
      // Only the first one asks whether somebody was faster: the others follow their own.
      outbox.send({ conversation: c, agent: user, content: b.content, text: b.text, preview: b.preview, expectedLastSeq: anyway || i > 0 ? 0n : lastSeq, useKept: usesKept }).catch((err: unknown) => {
        if (!(err instanceof Collision)) return; // the bubble shows it
        change({ text: kept });
        setStaged(() => []);
        setGuard(err.messages);
      });
    });
  };
  const submit = () => (note ? void saveNote() : send(false));

  const upload = async (file: File) => {
    const kind = file.type.startsWith("image/") ? "image" : file.type.startsWith("video/") ? "video" : file.type.startsWith("audio/") ? "voice" : undefined;
    if (!kind) return;
    if (file.size > limits[kind] * 1_048_576) {
      notification.warning({ title: t("composer.tooBig", { name: file.name, limit: limits[kind] }) });
      return;
    }
    const key = `upload/${file.name}`;
    notification.info({ key, title: t("composer.uploading", { name: file.name }), duration: 0 });
    try {
      const type = { image: MediaType.IMAGE, voice: MediaType.VOICE, video: MediaType.VIDEO }[kind];
      const res = await sender.uploadMedia({ account: c.account, type, filename: file.name, content: new Uint8Array(await file.arrayBuffer()) });
      const content = kind === "image" ? imageContent(res.mediaId) : kind === "voice" ? voiceContent(res.mediaId) : videoContent(res.mediaId, file.name);
      setStaged((list) => [...list, { content, text: file.name, preview: { url: URL.createObjectURL(file), type: file.type, name: file.name } }]);
      area.current?.focus();
    } catch (err) {
      fail(err);
    } finally {
      notification.destroy(key);
    }
  };

  const choose = (choice: CannedChoice) => {
    setCanned(false);
    const [first] = choice.contents;
    if (choice.contents.length === 1 && first?.body.case === "text") {
      change({ text: first.body.value.content });
      requestAnimationFrame(() => selectHole(area.current, 0));
    } else {
      const texts = choice.contents.filter((x) => x.body.case === "text").map((x) => (x.body.value as { content: string }).content);
      setStaged(() => choice.contents.filter((x) => x.body.case !== "text").map((content) => ({ content, text: choice.title })));
      change({ text: texts.join("\n\n") });
      requestAnimationFrame(() => selectHole(area.current, 0));
    }
  };

  const openCanned = useCallback(() => setCanned(true), []);
  const openCard = useCallback(() => setCard(true), []);
  const insert = useStable((piece: string) => {
    const el = area.current;
    const at = el?.selectionStart ?? text.length;
    change({ text: text.slice(0, at) + piece + text.slice(el?.selectionEnd ?? at) });
    requestAnimationFrame(() => {
      el?.focus();
      el?.setSelectionRange(at + piece.length, at + piece.length);
    });
  });
  const take = useStable((file: File) => void upload(file));
  const onKeyDown = (e: React.KeyboardEvent<HTMLTextAreaElement>) => {
    if (e.nativeEvent.isComposing || popup) return;
    if (e.key === "Escape") {
      if (guard) setGuard(undefined);
      else e.currentTarget.blur();
    } else if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) {
      e.preventDefault();
      if (guard) send(true);
      else submit();
    } else if (e.key === "Enter" && !e.shiftKey) {
      e.preventDefault();
      if (!guard && !usesKept) submit();
    } else if (e.key === "Tab" && !e.shiftKey && selectHole(area.current, area.current?.selectionEnd ?? 0)) e.preventDefault();
  };

  return (
    <div className="composer" id="composer" data-zone onDragOver={(e) => e.preventDefault()} onDrop={(e) => { e.preventDefault(); for (const f of e.dataTransfer.files) void upload(f); }}>
      {popup && <CannedPopup key={fan} c={c} query={query} onChoose={choose} onClose={() => { setCanned(false); if (query !== undefined) change({ text: "" }); area.current?.focus(); }} />}
      {card && <CardDialog account={c.account} onClose={() => setCard(false)} onDone={(content) => { setCard(false); setStaged((list) => [...list, { content, text: cardTitle(content) }]); area.current?.focus(); }} />}
      {note && <Mentions area={area.current} text={text} onPick={(next) => change({ text: next })} />}
      <div className="chips">
        <Chips c={c} quota={quota} cost={cost} />
        <span className="grow" />
        <div className="mode" role="tablist" aria-label={t("composer.label")}>
          <button type="button" role="tab" aria-selected={!note} onClick={() => focus("reply")}>{t("composer.reply")} <Kbd chord={keys.chord("reply")} /></button>
          <button type="button" role="tab" aria-selected={note} onClick={() => focus("note")}>{t("composer.note")} <Kbd chord={keys.chord("note")} /></button>
        </div>
      </div>
      {guard && <Guard messages={guard} draft={text} startedAt={draft.startedAt} nameOf={nameOf} onSend={() => send(true)} onCancel={() => { setGuard(undefined); area.current?.focus(); }} onNote={() => { setGuard(undefined); focus("note"); }} />}
      {staged.length > 0 && !note && (
        <div className="staged" aria-label={t("canned.staged")}>
          {staged.map((s, i) => (
            <span key={`${i}/${s.text}`} className="staged-block">
              {s.preview?.type.startsWith("image/") ? <img src={s.preview.url} alt={s.preview.name} /> : <Icon name="box" size={14} />}
              <span className="cut">{t(`block.${kindOf(s.content)}`)} {s.text}</span>
              <button type="button" className="icon-button tiny" aria-label={t("act.delete")} onClick={() => setStaged((list) => list.filter((x) => x !== s))}><Icon name="x" size={12} /></button>
            </span>
          ))}
        </div>
      )}
      {closed && !note ? <WindowClosed c={c} quota={quota} draft={text} onHold={onHold} onNote={() => focus("note")} /> : (
        <>
          <textarea key={fan} ref={area} className={note ? "is-note" : ""} rows={2} value={text} data-zone-focus aria-label={note ? t("composer.noteLabel") : t("composer.label")} placeholder={note ? t("composer.notePlaceholder") : t("composer.placeholder")}
            onChange={(e) => { change({ text: e.target.value }); if (e.target.value && !note) tellTyping(); }} onKeyDown={onKeyDown} onPaste={(e) => { const files = [...e.clipboardData.files]; if (files.length > 0) { e.preventDefault(); for (const f of files) void upload(f); } }} />
          {parts.length > 1 && <SplitPreview parts={parts} />}
          <div className="tools">
            <span className="toolbar"><Tools disabled={note} onCanned={openCanned} onCard={openCard} onFile={take} onEmoji={insert} /></span>
            <span className="t12 t3 cost" aria-live="polite">
              {tooMany ? <b className="tone-amber">{t("composer.tooMany", { need: cost, left: quota.data?.remaining ?? 0 })}</b>
                : usesKept ? <b className="tone-amber" role="status">{t("composer.usesKept")}</b>
                : cost > 1 && left !== undefined ? <>{parts.length > 1 && <>{t("composer.bytes", { bytes: number(bytesOf(parts[0] ?? "")), limit: number(messageBytes) })} · </>}<b className={left <= 1 ? "tone-amber" : ""}>{t("composer.leaves", { left, total: quota.total })}</b></>
                  : <><Kbd chord="shift+enter" /> {t("composer.newline")}</>}
            </span>
            <Button type="primary" disabled={note ? !text.trim() : cost === 0 || tooMany || guard !== undefined} onClick={submit} data-testid="send">
              {note ? t("composer.saveNote") : usesKept ? t("composer.sendKept") : cost > 1 ? t("composer.sendParts", { count: cost }) : t("composer.send")} <Kbd chord={usesKept ? "mod+enter" : "enter"} />
            </Button>
          </div>
        </>
      )}
    </div>
  );
}

// A variable without a value stands in braces; Tab walks from one to the next.
function selectHole(area: HTMLTextAreaElement | null, from: number): boolean {
  if (!area) return false;
  area.focus();
  const holes = [...area.value.matchAll(/\{[^{}\n]{1,40}\}/g)];
  const next = holes.find((h) => h.index >= from) ?? holes[0];
  if (!next) return false;
  area.setSelectionRange(next.index, next.index + next[0].length);
  return true;
}

function SplitPreview({ parts }: { parts: readonly string[] }) {
  const { t } = useI18n();
  return (
    <div className="split-preview" data-testid="split">
      {parts.slice(1).map((p, i) => (
        // oxlint-disable-next-line react/no-array-index-key -- the place is the identity
        <div key={i}><div className="split-line">{t("composer.part", { n: i + 2 })}</div><div className="cut t2">{p}</div></div>
      ))}
    </div>
  );
}

// Tools is drawn once: what it is given stays the same from fan to fan.
const Tools = memo(function Tools({ disabled, onCanned, onCard, onFile, onEmoji }: { disabled: boolean; onCanned(): void; onCard(): void; onFile(f: File): void; onEmoji(text: string): void }) {
  const { t } = useI18n();
  return (
    <>
      <Tool icon="bolt" label={t("composer.canned")} hint="/" disabled={disabled} onClick={onCanned} />
      <FileTool icon="img" label={t("composer.image")} accept="image/jpeg,image/png,image/gif" disabled={disabled} onFile={onFile} />
      <FileTool icon="mic" label={t("composer.voice")} accept="audio/amr,audio/mpeg,.amr,.mp3" disabled={disabled} onFile={onFile} />
      <FileTool icon="video" label={t("composer.video")} accept="video/mp4" disabled={disabled} onFile={onFile} />
      <Tool icon="mini" label={t("composer.card")} disabled={disabled} onClick={onCard} />
      <EmojiTool disabled={disabled} onPick={onEmoji} />
    </>
  );
});

function Tool({ icon, label, hint, disabled, onClick }: { icon: "bolt" | "mini"; label: string; hint?: string; disabled?: boolean; onClick(): void }) {
  return <Tooltip title={`${label} ${hint ?? ""}`}><button type="button" className="icon-button" aria-label={label} disabled={disabled} onClick={onClick}><Icon name={icon} /></button></Tooltip>;
}

function FileTool({ icon, label, accept, disabled, onFile }: { icon: "img" | "mic" | "video"; label: string; accept: string; disabled?: boolean; onFile(f: File): void }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <Tooltip title={label}>
      <button type="button" className="icon-button" aria-label={label} disabled={disabled} onClick={() => input.current?.click()}>
        <Icon name={icon} />
        <input ref={input} type="file" hidden accept={accept} tabIndex={-1} onClick={(e) => e.stopPropagation()} onChange={(e) => { for (const f of e.target.files ?? []) onFile(f); e.target.value = ""; }} />
      </button>
    </Tooltip>
  );
}

// useTyping tells the fan and the colleagues that somebody writes, at most every few seconds for each fan.
function useTyping(c: Conversation): () => void {
  const { conversations } = useClients();
  const { user } = useMe();
  const told = useRef({ id: "", at: 0 });
  return () => {
    if (told.current.id === c.id && Date.now() - told.current.at < typingEvery) return;
    told.current = { id: c.id, at: Date.now() };
    void conversations.setTyping({ account: c.account, conversation: c.id, actor: user, kind: SignalKind.TYPING }).catch(() => undefined); // a courtesy
  };
}

// useGrowing lets the field grow with its text, up to 40% of the height.
function useGrowing(area: React.RefObject<HTMLTextAreaElement | null>, fan: string, text: string): void {
  useEffect(() => {
    const el = area.current;
    if (!el) return;
    el.style.height = "";
    if (text) el.style.height = `${Math.min(Math.max(60, el.scrollHeight), Math.max(60, window.innerHeight * 0.4 - 108))}px`;
  }, [area, fan, text]);
}

export function useCannedReplies(account: string) {
  const { agents } = useClients();
  const { user } = useMe();
  return useQuery({ queryKey: ["canned", account], queryFn: () => agents.listCannedReplies({ agent: user, account }), staleTime: 60_000 });
}
