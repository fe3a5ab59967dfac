import { Dropdown } from "antd";
import { memo } from "react";
import { AuthorKind, MessageState, type Message } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { FanAvatar } from "../fan/avatar";
import { useI18n } from "../i18n";
import { say } from "../rpc/error";
import { useSecond } from "../ui/clock";
import { Icon } from "../ui/icon";
import { adviceFor, skippedText } from "./advice";
import { MessageBody } from "./media";
import type { Pending } from "./outbox";

export interface BubbleActions {
  onSelect(m: Message): void;
  onTrace(m: Message): void;
  onResend(m: Message): void;
  nameOf(agent: string): string;
}

// Bubble shows a message as what it is known to be, and never as more.
export const Bubble = memo(function Bubble({ m, selected, actions }: { m: Message; selected: boolean; actions: BubbleActions }) {
  const { t, time } = useI18n();
  const at = time(Number(m.atUnixMs));
  switch (m.authorKind) {
    case AuthorKind.NOTE:
    case AuthorKind.WHISPER:
      return (
        <div className="note" data-seq={String(m.seq)}>
          <span className="who"><Icon name={m.authorKind === AuthorKind.NOTE ? "note" : "wisp"} size={14} />{t(m.authorKind === AuthorKind.NOTE ? "bubble.note" : "bubble.whisper", { name: actions.nameOf(m.author) })}</span>
          <span className="words grow">{m.text}</span>
          <span className="t12 t3 nowrap">{at} · {t("bubble.teamOnly")}</span>
        </div>
      );
    case AuthorKind.FAN:
      if (m.msgType === "event") return <div className="activity">{at} {m.text}</div>;
      return (
        <div className={`msg fan ${selected ? "selected" : ""}`} data-seq={String(m.seq)} onClick={() => actions.onSelect(m)} onKeyDown={undefined} role="presentation">
          <FanAvatar fan={m} size={28} />
          <div className={`bub kind-${m.msgType}`} aria-live="polite"><MessageBody m={m} /></div>
          <div className="state"><span>{at}</span></div>
        </div>
      );
    default:
      return <OwnBubble m={m} at={at} selected={selected} actions={actions} />;
  }
});

const looks: Partial<Record<MessageState, string>> = { [MessageState.QUEUED]: "wait", [MessageState.FAILED]: "fail", [MessageState.AMBIGUOUS]: "unsure", [MessageState.SKIPPED]: "skipped" };

function OwnBubble({ m, at, selected, actions }: { m: Message; at: string; selected: boolean; actions: BubbleActions }) {
  const { t } = useI18n();
  const automatic = m.authorKind !== AuthorKind.AGENT;
  const look = looks[m.state] ?? "sent";
  const advice = adviceFor(m, t);
  return (
    <div className={`msg me ${look} ${automatic ? "auto" : ""} ${selected ? "selected" : ""}`} data-seq={String(m.seq)} data-state={MessageState[m.state]} onClick={() => actions.onSelect(m)} onKeyDown={undefined} role="presentation">
      <div className={`bub kind-${m.msgType}`}>
        {automatic && <div className="source"><Icon name="bolt" size={14} />{m.authorKind === AuthorKind.BOT ? t("bubble.rule", { name: m.author }) : t("bubble.system")}</div>}
        <MessageBody m={m} />
        {m.state === MessageState.SKIPPED && <div className="t12 t3" data-testid="skipped">{t("bubble.skipped", { reason: skippedText(m, t) })}</div>}
        {m.state === MessageState.FAILED && (
          <div className="failure" role="alert">
            <span className="tone-red m"><Icon name="alert" size={14} /> {t("bubble.failed", { reason: advice.reason })} {m.errcode !== 0 && <span className="mono">{m.errcode}</span>}</span>
            <span className="t2">{advice.what}</span>
            <span className="row g12">
              {!automatic && advice.resend && <button type="button" className="link" onClick={() => actions.onResend(m)}>{t("bubble.resend")}</button>}
              <button type="button" className="link quiet" onClick={() => actions.onTrace(m)}>{t("bubble.trace")}</button>
            </span>
          </div>
        )}
      </div>
      <div className="state">
        <StateLine m={m} actions={actions} />
        <span>{at}{!automatic && m.author ? ` · ${actions.nameOf(m.author)}` : ""}</span>
      </div>
    </div>
  );
}

function StateLine({ m, actions }: { m: Message; actions: BubbleActions }) {
  const { t } = useI18n();
  switch (m.state) {
    case MessageState.QUEUED:
      return <span className="line"><Icon name="clock" size={12} />{t("bubble.queued")}</span>;
    case MessageState.ACCEPTED:
      return <button type="button" className="plain line" onClick={() => actions.onTrace(m)} title={t("bubble.trace")}><Icon name="check" size={12} />{t("bubble.accepted")}</button>;
    case MessageState.AMBIGUOUS:
      return (
        <span className="line tone-amber"><Icon name="ask" size={12} />{t("bubble.ambiguous")}
          <Dropdown trigger={["click"]} menu={{ items: [{ key: "trace", label: t("bubble.trace") }, { key: "resend", label: t("bubble.sendAgain") }], onClick: ({ key }) => (key === "trace" ? actions.onTrace(m) : actions.onResend(m)) }}>
            <button type="button" className="icon-button tiny" aria-label={t("act.more")}><Icon name="more" size={12} /></button>
          </Dropdown>
        </span>
      );
    case MessageState.SKIPPED:
      return <span className="line"><Icon name="off" size={12} />{t("bubble.leftOut")}</span>;
    case MessageState.FAILED:
      return <span className="line tone-red"><Icon name="alert" size={12} />{t("bubble.notSent")}</span>;
    default:
      return null;
  }
}

// PendingBubble is a message that the server has not stored yet.
export function PendingBubble({ p, onDiscard, onRetry }: { p: Pending; onDiscard(p: Pending): void; onRetry(p: Pending): void }) {
  const { t } = useI18n();
  const now = useSecond();
  const said = p.error ? say(p.error, t) : undefined;
  return (
    <div className={`msg me ${p.state === "refused" ? "fail" : "wait"}`} data-pending={p.state}>
      <div className="bub">
        {p.preview?.type.startsWith("image/") ? <img className="picture" src={p.preview.url} alt={p.preview.name} /> : <span className="words">{p.text}</span>}
        {p.state === "refused" && (
          <div className="failure" role="alert">
            <span className="tone-red m"><Icon name="alert" size={14} /> {said?.text} <span className="mono">{said?.code}</span></span>
            <span className="row g12"><button type="button" className="link" onClick={() => onRetry(p)}>{t("error.retry")}</button><button type="button" className="link quiet" onClick={() => onDiscard(p)}>{t("act.delete")}</button></span>
          </div>
        )}
      </div>
      <div className="state">
        {p.state === "sending" && <span className="line"><Icon name="send" size={12} />{t("bubble.sending", { seconds: Math.max(0, Math.round((now - p.at) / 1000)) })}</span>}
        {p.state === "offline" && <span className="line tone-amber"><Icon name="off" size={12} />{t("bubble.offline")}<button type="button" className="link quiet" onClick={() => onDiscard(p)}>{t("act.delete")}</button></span>}
      </div>
    </div>
  );
}
