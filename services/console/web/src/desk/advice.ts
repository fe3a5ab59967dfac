import type { Message } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import type { Translate } from "../i18n";
import type { Key } from "../i18n/words";

interface Advice {
  reason: string;
  what: string;
  resend: boolean;
}

// What WeChat's codes mean to an agent, and whether sending again can help.
const known: Record<number, { reason: Key; what: Key; resend: boolean }> = {
  40003: { reason: "code.40003", what: "code.40003.do", resend: false },
  40007: { reason: "code.40007", what: "code.40007.do", resend: true },
  43004: { reason: "code.43004", what: "code.43004.do", resend: false },
  43101: { reason: "code.43101", what: "code.43101.do", resend: false },
  45002: { reason: "code.45002", what: "code.45002.do", resend: false },
  45009: { reason: "code.45009", what: "code.45009.do", resend: true },
  45011: { reason: "code.45011", what: "code.45011.do", resend: true },
  45015: { reason: "code.45015", what: "code.45015.do", resend: false },
  45047: { reason: "code.45047", what: "code.45047.do", resend: false },
  48001: { reason: "code.48001", what: "code.48001.do", resend: false },
};

// skippedText says why an automatic text was left out: in the reader's language where the cause is the window.
export function skippedText(m: Pick<Message, "reason">, t: Translate): string {
  if (m.reason.startsWith("window: the last message")) return t("skipped.kept");
  if (m.reason.startsWith("window exhausted")) return t("skipped.exhausted");
  if (m.reason.startsWith("window closed")) return t("skipped.closed");
  return m.reason || t("unknown");
}

// codeReason says what a code of WeChat means; undefined for those that agents need no words for.
export function codeReason(errcode: number, t: Translate): string | undefined {
  const k = known[errcode];
  return k && t(k.reason);
}

export function adviceFor(m: Pick<Message, "errcode" | "reason">, t: Translate): Advice {
  const k = known[m.errcode];
  return k ? { reason: t(k.reason), what: t(k.what), resend: k.resend } : { reason: m.reason || t("unknown"), what: t("code.other.do"), resend: true };
}
