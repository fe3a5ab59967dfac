import { useMutation } from "@tanstack/react-query";
import { App, Button, Input, Modal } from "antd";
import { useState } from "react";
import { useI18n } from "../i18n";
import { useClients } from "../rpc/clients";
import { say } from "../rpc/error";
import { useMe } from "./session";

const least = 10;

// PasswordForm sets a new password; with must it is the only thing that can be done.
export function PasswordForm({ must, onDone }: { must?: boolean; onDone?: () => void }) {
  const { t } = useI18n();
  const { session } = useClients();
  const { reload } = useMe();
  const { notification } = App.useApp();
  const [old, setOld] = useState("");
  const [next, setNext] = useState("");
  const [again, setAgain] = useState("");
  const change = useMutation({
    mutationFn: () => session.changePassword({ oldPassword: old, newPassword: next }),
    onSuccess: async () => {
      notification.success({ title: t("password.done") });
      await reload();
      onDone?.();
    },
  });
  const problem = next && [...next].length < least ? t("password.short") : again && again !== next ? t("password.differ") : "";
  const failure = change.error ? say(change.error, t) : undefined;
  const fields = [["old", old, setOld, "current-password"], ["new", next, setNext, "new-password"], ["again", again, setAgain, "new-password"]] as const;
  return (
    <form onSubmit={(e) => { e.preventDefault(); change.mutate(); }} className="col">
      {must && <p className="t2">{t("password.must")}</p>}
      {fields.map(([id, value, set, complete]) => (
        <label key={id} className="col g4 t12 t2">
          {t(`password.${id}`)}
          <Input.Password value={value} onChange={(e) => set(e.target.value)} autoComplete={complete} />
        </label>
      ))}
      <div role="alert" className="tone-red t12" style={{ minHeight: 18 }}>{problem || (failure && `${failure.text} ${failure.code}`)}</div>
      <Button type="primary" htmlType="submit" loading={change.isPending} disabled={!old || !next || next !== again || problem !== ""}>{t("password.title")}</Button>
    </form>
  );
}

export function PasswordDialog({ open, onClose }: { open: boolean; onClose: () => void }) {
  const { t } = useI18n();
  return <Modal open={open} onCancel={onClose} footer={null} title={t("password.title")} destroyOnHidden width={400}><PasswordForm onDone={onClose} /></Modal>;
}
