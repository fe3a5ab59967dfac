import { Button } from "antd";
import { useEffect, useState } from "react";
import { useI18n } from "../i18n";
import { useSecond } from "../ui/clock";
import { Icon } from "../ui/icon";
import { Dot } from "../ui/parts";
import { useDesk, useFeed } from "./provider";

const patience = 3_000; // a short cut is nobody's business
const announce = 8_000;

// LinkBanner says that the link is down, and afterwards how much came late and that nothing is missing.
export function LinkBanner() {
  const { t, number } = useI18n();
  const { feed } = useDesk();
  const { link, caughtUp } = useFeed();
  const now = useSecond();
  const [wasDown, setWasDown] = useState(false);
  useEffect(() => {
    if (link.state === "down") setWasDown(true);
  }, [link.state]);
  if (link.state === "down" && now - link.since >= patience) {
    return (
      <div className="link-banner amber" role="status" data-testid="link-down">
        <Icon name="off" />
        <span>{t("conn.banner", { seconds: Math.round((now - link.since) / 1000), retry: link.retry, next: Math.max(0, Math.ceil((link.nextAt - now) / 1000)) })}</span>
        <span className="grow t12 t3 cut">{t("conn.keepTyping")}</span>
        <Button size="small" onClick={() => feed.reconnect()}>{t("conn.now")}</Button>
      </div>
    );
  }
  if (wasDown && link.state === "up" && caughtUp && now - caughtUp.at < announce) {
    return (
      <div className="link-banner" role="status" data-testid="link-back">
        <Dot tone="green" />
        <span>{caughtUp.reloaded ? t("conn.reloaded") : t("conn.back", { count: caughtUp.count })}</span>
        {!caughtUp.reloaded && <span className="t12 t3">{t("conn.range", { from: number(caughtUp.from), to: number(caughtUp.to) })}</span>}
      </div>
    );
  }
  return null;
}
