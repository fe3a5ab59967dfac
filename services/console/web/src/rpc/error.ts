import { Code, ConnectError } from "@connectrpc/connect";
import type { Translate } from "../i18n";
import type { Key } from "../i18n/words";

// Said is an error in words: what happened, and the code after the words.
export interface Said {
  text: string;
  code: string;
  retry: boolean; // trying again may help
}

const keys: Partial<Record<Code, Key>> = {
  [Code.Unavailable]: "error.unavailable",
  [Code.Unauthenticated]: "error.unauthenticated",
  [Code.PermissionDenied]: "error.permission",
  [Code.NotFound]: "error.notFound",
  [Code.Aborted]: "error.conflict",
  [Code.AlreadyExists]: "error.conflict",
  [Code.InvalidArgument]: "error.invalid",
  [Code.OutOfRange]: "error.invalid",
  [Code.FailedPrecondition]: "error.precondition",
  [Code.ResourceExhausted]: "error.tooMany",
  [Code.DeadlineExceeded]: "error.deadline",
};

const retries = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.ResourceExhausted, Code.Unknown, Code.Internal]);

export function say(err: unknown, t: Translate): Said {
  if (err instanceof TypeError) return { text: t("error.network"), code: "network", retry: true };
  const e = ConnectError.from(err);
  if (e.code === Code.Unknown && /fetch|network/i.test(e.rawMessage)) return { text: t("error.network"), code: "network", retry: true };
  const key = keys[e.code] ?? "error.internal";
  const seconds = Number(e.metadata.get("Retry-After")) || 5;
  return { text: t(key, { detail: e.rawMessage, seconds }), code: Code[e.code]?.replace(/([a-z])([A-Z])/g, "$1_$2").toLowerCase() ?? "unknown", retry: retries.has(e.code) };
}
