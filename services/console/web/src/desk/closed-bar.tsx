import { Button } from "antd";
import { ConversationState, type Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { useI18n } from "../i18n";
import { useKeys } from "../keys/keys";
import { Kbd } from "../ui/parts";
import { NoteField } from "./note-field";

// ClosedBar stands where the composer would be when the conversation is not one's own: it says why, and
// offers what can be done.
export function ClosedBar({ c, nameOf, onAccept, wanted, onWanted }: { c: Conversation; nameOf(id: string): string; onAccept(c: Conversation): void; wanted: "reply" | "note" | undefined; onWanted(): void }) {
  const { t, dateTime } = useI18n();
  const keys = useKeys();
  const takeable = c.state === ConversationState.WAITING || c.state === ConversationState.LEFT_MESSAGE || c.state === ConversationState.OFFERED;
  const text = takeable ? t("thread.waiting") : c.state === ConversationState.CLOSED ? `${t("thread.ended")} · ${dateTime(Number(c.closedUnixMs))}` : t("thread.readonly", { name: nameOf(c.agent) });
  return (
    <div className="composer" data-zone>
      <div className="row closed-bar">
        <span className="grow t2">{text}</span>
        {takeable && <Button type="primary" onClick={() => onAccept(c)} data-testid="take">{t("thread.take")} <Kbd chord={keys.chord("accept")} /></Button>}
      </div>
      {c.state !== ConversationState.CLOSED && <NoteField c={c} wanted={wanted} onWanted={onWanted} />}
    </div>
  );
}
