import { AssignmentReason, type Assignment } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import type { Translate } from "../i18n";
import { words } from "../i18n/words";
import type { Key } from "../i18n/words";

const reasons: Partial<Record<AssignmentReason, Key>> = {
  [AssignmentReason.NOBODY_FREE]: "why.nobodyFree", [AssignmentReason.LEAST_LOAD]: "why.leastLoad", [AssignmentReason.WAITED_LONGEST]: "why.waitedLongest", [AssignmentReason.LAST_AGENT]: "why.lastAgent",
  [AssignmentReason.PICKED]: "why.picked", [AssignmentReason.GIVEN]: "why.given", [AssignmentReason.TAKEN_OVER]: "why.takenOver", [AssignmentReason.REOPENED]: "why.reopened",
};

// whyOf says in the reader's language why somebody was given a conversation. A decision from before reasons
// were kept has its English words only.
export function whyOf(a: Assignment | undefined, t: Translate): string {
  if (!a) return "";
  const key = reasons[a.reason];
  if (!key) return a.why;
  const alone = a.choices <= 1 && (a.reason === AssignmentReason.LEAST_LOAD || a.reason === AssignmentReason.WAITED_LONGEST); // nothing was compared
  const load = a.winner && a.capacity > 0 ? t("why.load", { load: a.loadAfter, capacity: a.capacity }) : "";
  return [t(alone ? "why.onlyOne" : key, { choices: a.choices }), load, a.remark].filter(Boolean).join(t("why.and"));
}

// excludedText names the filter that left an agent out.
export function excludedText(filter: string, t: Translate): string {
  const key = `excluded.${filter}`;
  return key in words ? t(key as Key) : filter;
}
