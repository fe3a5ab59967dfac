import { useMutation } from "@tanstack/react-query";
import { App, Button, Input } from "antd";
import { useRef, useState } from "react";
import type { Conversation } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { ConversationService } from "../gen/wxbus/agentrouting/v1/conversation_service_pb";
import { useI18n } from "../i18n";
import { useClients } from "../rpc/clients";
import { say } from "../rpc/error";
import { useMe } from "../session/session";
import { useDesk } from "./provider";
import { useWanted } from "./thread-pane";

// NoteField adds a note, or a whisper for those who may whisper, to a conversation of somebody else.
export function NoteField({ c, wanted, onWanted }: { c: Conversation; wanted: "reply" | "note" | undefined; onWanted(): void }) {
  const { t } = useI18n();
  const { conversations } = useClients();
  const { user, can } = useMe();
  const { store } = useDesk();
  const { notification } = App.useApp();
  const [text, setText] = useState("");
  const id = useRef(crypto.randomUUID());
  const field = useRef<HTMLDivElement>(null);
  useWanted(wanted, onWanted, () => field.current?.querySelector("textarea")?.focus());
  const add = useMutation({
    mutationFn: async (kind: "note" | "whisper") => {
      const req = { account: c.account, conversation: c.id, actor: user, text: text.trim(), idempotencyKey: id.current };
      return kind === "note" ? conversations.addNote(req) : conversations.whisper(req);
    },
    onSuccess: (res) => {
      if (res.message) store.putPage(c, [res.message], undefined);
      setText("");
      id.current = crypto.randomUUID();
    },
    onError: (err) => notification.error({ title: say(err, t).text }),
  });
  return (
    <div className="note-field" ref={field}>
      <Input.TextArea rows={1} aria-label={t("composer.noteLabel")} placeholder={t("composer.notePlaceholder")} value={text} maxLength={4000} onChange={(e) => setText(e.target.value)}
        onPressEnter={(e) => { if (!e.shiftKey && !e.nativeEvent.isComposing && text.trim()) { e.preventDefault(); add.mutate("note"); } }} onKeyDown={(e) => { if (e.key === "Escape") e.currentTarget.blur(); }} />
      {can(ConversationService.method.whisper) && <Button disabled={!text.trim()} loading={add.isPending} onClick={() => add.mutate("whisper")}>{t("key.whisper")}</Button>}
      <Button disabled={!text.trim()} loading={add.isPending} onClick={() => add.mutate("note")}>{t("composer.saveNote")}</Button>
    </div>
  );
}
