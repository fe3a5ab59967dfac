import { memo } from "react";
import { faceOf, type FanKey } from "./identity";
import { patterns } from "./patterns";

// FanAvatar is hidden from assistive technology: the name beside it carries the identity.
export const FanAvatar = memo(function FanAvatar({ fan, size = 36 }: { fan: FanKey; size?: 20 | 24 | 28 | 32 | 36 | 48 }) {
  const face = faceOf(fan);
  return (
    <svg className={`fan-avatar hue-${face.hue}`} width={size} height={size} viewBox="0 0 48 48" aria-hidden="true">
      <rect className="ground" width="48" height="48" />
      <path className="figure" d={patterns[face.pattern]} />
    </svg>
  );
}, (a, b) => a.size === b.size && a.fan.account === b.fan.account && a.fan.openid === b.fan.openid);
