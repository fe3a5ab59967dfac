import { Button, Modal } from "antd";
import { useEffect, useState } from "react";
import { useI18n } from "../i18n";
import { actionIDs, type ActionID } from "../keys/actions";
import { chordOf } from "../keys/chord";
import { useKeys } from "../keys/keys";
import { Kbd } from "../ui/parts";

const bare = new Set(["shift", "control", "alt", "meta", "mod"]);

// CheatSheet shows every key, and takes new ones.
export function CheatSheet({ onClose }: { onClose: () => void }) {
  const { t } = useI18n();
  const keys = useKeys();
  const [taking, setTaking] = useState<ActionID | null>(null);
  useEffect(() => keys.pause(), [keys]);
  useEffect(() => {
    if (!taking) return undefined;
    const take = (e: KeyboardEvent) => {
      e.preventDefault();
      e.stopPropagation();
      const chord = chordOf(e);
      if (bare.has(chord.split("+").at(-1) ?? "") || chord.endsWith("control") || chord.endsWith("meta")) return;
      if (chord !== "esc") keys.rebind(taking, chord);
      setTaking(null);
    };
    window.addEventListener("keydown", take, { capture: true });
    return () => window.removeEventListener("keydown", take, { capture: true });
  }, [taking, keys]);
  return (
    <Modal open onCancel={onClose} title={t("keys.title")} width={680} footer={<Button onClick={keys.reset}>{t("keys.reset")}</Button>}>
      <p className="t3 t12" style={{ marginBottom: 8 }}>{t("keys.hint")}</p>
      <div className="cheat">
        {actionIDs.map((id) => (
          <div key={id}>
            <span>{t(`key.${id}`)}</span>
            <button type="button" className="chord" aria-pressed={taking === id} aria-label={`${t(`key.${id}`)} ${keys.chord(id)}`} onClick={() => setTaking(id)}>
              {taking === id ? t("keys.press") : <Kbd chord={keys.chord(id)} />}
            </button>
          </div>
        ))}
        <div><span>{t("keys.accounts")}</span><Kbd chord="alt+1" />–<Kbd chord="9" /></div>
        <div><span>{t("keys.canned")}</span><Kbd chord="/" /></div>
        <div><span>{t("keys.mention")}</span><Kbd chord="@" /></div>
        <div><span>{t("keys.send")}</span><Kbd chord="enter" /></div>
        <div><span>{t("keys.newline")}</span><Kbd chord="shift+enter" /></div>
      </div>
    </Modal>
  );
}
