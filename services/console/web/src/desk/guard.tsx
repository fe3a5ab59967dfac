import { Button } from "antd";
import type { Message } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { useI18n } from "../i18n";
import { useSecond } from "../ui/clock";
import { Icon } from "../ui/icon";
import { Kbd } from "../ui/parts";

interface Props {
  messages: readonly Message[];
  draft: string;
  startedAt: number;
  nameOf(id: string): string;
  onSend(): void;
  onCancel(): void;
  onNote(): void;
}

// Guard stands between Enter and a second answer: their words and yours, before anything is sent.
export function Guard({ messages, draft, startedAt, nameOf, onSend, onCancel, onNote }: Props) {
  const { t } = useI18n();
  const now = useSecond();
  const last = messages.at(-1);
  const ago = (ms: number) => Math.max(0, Math.round((now - ms) / 1000));
  return (
    <div className="guard" role="alertdialog" aria-label={t("guard.title", { name: last ? nameOf(last.author) : "", seconds: 0 })} data-testid="guard">
      <div className="row"><Icon name="alert" /><b className="tone-amber">{t("guard.title", { name: last ? nameOf(last.author) || t("unknown") : "", seconds: last ? ago(Number(last.atUnixMs)) : 0 })}</b><span className="grow" />{startedAt > 0 && <span className="t12 t3">{t("guard.started", { seconds: ago(startedAt) })}</span>}</div>
      <dl>
        {messages.slice(-3).map((m) => <div key={String(m.seq)}><dt>{nameOf(m.author)}</dt><dd><Different text={m.text} from={draft} /></dd></div>)}
        <div><dt>{t("guard.you")}</dt><dd><Different text={draft} from={last?.text ?? ""} /></dd></div>
      </dl>
      <div className="row">
        <Button size="small" onClick={onSend}>{t("guard.sendAnyway")} <Kbd chord="mod+enter" /></Button>
        <Button size="small" type="primary" onClick={onCancel}>{t("guard.discard")} <Kbd chord="esc" /></Button>
        <Button size="small" type="text" onClick={onNote}>{t("guard.toNote")}</Button>
      </div>
    </div>
  );
}

// Different writes the part that the other text does not share in medium weight.
function Different({ text, from }: { text: string; from: string }) {
  const a = [...text];
  const b = [...from];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  return <>{a.slice(0, head).join("")}<b>{a.slice(head, a.length - tail).join("")}</b>{a.slice(a.length - tail).join("")}</>;
}
