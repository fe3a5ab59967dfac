import { Button, Modal, Segmented, Slider, Switch } from "antd";
import { useState } from "react";
import { useI18n } from "../i18n";
import { loadSounds, play, saveSounds, soundEvents, type SoundSettings } from "./sounds";

export function SoundDialog({ onClose }: { onClose: () => void }) {
  const { t } = useI18n();
  const [s, set] = useState(loadSounds);
  const update = (part: Partial<SoundSettings>) => {
    const next = { ...s, ...part };
    set(next);
    saveSounds(next);
  };
  const wantDesktop = async (on: boolean) => {
    if (on && typeof Notification !== "undefined" && Notification.permission === "default") await Notification.requestPermission();
    update({ desktop: on && typeof Notification !== "undefined" && Notification.permission === "granted" });
  };
  return (
    <Modal open onCancel={onClose} footer={null} title={t("me.sounds")} width={520}>
      <div className="col">
        <div className="row"><span className="grow">{t("sounds.volume")}</span><Slider style={{ width: 200 }} min={0} max={1} step={0.1} value={s.volume} onChange={(volume) => update({ volume })} ariaLabelForHandle={t("sounds.volume")} /></div>
        <label className="row"><span className="grow">{t("sounds.desktop")}</span><Switch checked={s.desktop} onChange={wantDesktop} aria-label={t("sounds.desktop")} /></label>
        {soundEvents.map((event) => (
          <div className="row" key={event}>
            <span className="grow">{t(`sounds.${event}`)}</span>
            <Segmented size="small" aria-label={t(`sounds.${event}`)} value={s.events[event]} onChange={(when) => update({ events: { ...s.events, [event]: when } })}
              options={(["on", "background", "off"] as const).map((value) => ({ value, label: t(`sounds.when.${value}`) }))} />
            <Button size="small" onClick={() => play(event, s, true)}>{t("sounds.test")}</Button>
          </div>
        ))}
      </div>
    </Modal>
  );
}
