import { Popover } from "antd";
import { useState } from "react";
import { useI18n } from "../i18n";
import { Icon } from "../ui/icon";

// What people who serve others write. WeChat shows them as every phone does.
const emoji = ["😊", "🙂", "😄", "😂", "🤝", "👍", "👌", "🙏", "👏", "💪", "❤️", "🌹", "🎉", "🎁", "✅", "❗", "❓", "⏰", "📦", "🚚", "📷", "📍", "☎️", "💬", "😅", "🤔", "😢", "😔", "☀️", "🌧️", "🍀", "☕"];

// EmojiTool puts a small picture into the text where the cursor stands.
export function EmojiTool({ disabled, onPick }: { disabled: boolean; onPick(text: string): void }) {
  const { t } = useI18n();
  const [open, setOpen] = useState(false);
  return (
    <Popover open={open} onOpenChange={setOpen} trigger="click" placement="topLeft" content={(
      <div className="emoji" role="group" aria-label={t("composer.emoji")}>
        {emoji.map((e) => <button key={e} type="button" className="plain" onClick={() => { setOpen(false); onPick(e); }}>{e}</button>)}
      </div>
    )}>
      <button type="button" className="icon-button" aria-label={t("composer.emoji")} title={t("composer.emoji")} aria-expanded={open} disabled={disabled}><Icon name="smile" /></button>
    </Popover>
  );
}
