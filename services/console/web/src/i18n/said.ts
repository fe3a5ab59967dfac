import { words, type Key } from "./words";
import type { Translate } from "./index";

// Services speak English in reasons and outcomes. What they mean is told in the reader's language; words that are not
// known here were written by a person or are new, and are shown as they came.

interface Names {
  group(id: string): string;
  agent(id: string): string;
}

const reasons: Record<string, Key> = {
  accepted: "said.accepted", closed: "said.closed", reopened: "said.reopened", "the agent is offline": "said.offline", "the agent is full": "said.full", "outside working hours": "said.outside",
  "no answer to the offer": "said.noAnswer", "hold is over": "said.holdOver", "working hours began": "said.hoursBegan", "nobody answered in time": "said.nobody",
  "conversation is silent": "said.silent", silent: "said.silent", "the fan wrote": "said.wrote",
};

// reasonText says why a conversation changed.
export function reasonText(reason: string, t: Translate, names: Names): string {
  return reason.split(", ").map((part) => {
    const known = reasons[part];
    if (known) return t(known);
    const [, what, id = ""] = /^(rule|transferred to group|transferred to) (\S+)$/.exec(part) ?? [];
    if (what === "rule") return t("said.rule", { rule: id });
    if (what === "transferred to group") return t("said.toGroup", { group: names.group(id) });
    if (what === "transferred to") return t("said.toAgent", { agent: names.agent(id) });
    return part;
  }).join(t("said.and"));
}

const known = (key: string): key is Key => key in words;

// keyed looks a word of a service up, and returns it as it is when it has no translation.
export function keyed(prefix: string, word: string, t: Translate, otherwise = word): string {
  const key = `${prefix}.${word}`;
  return known(key) ? t(key) : otherwise;
}

// outcomeText says why a rule won or lost in a dry run.
export function outcomeText(outcome: string, t: Translate): string {
  if (outcome === "won") return t("outcome.won");
  const failed = /^condition failed: (.*)$/.exec(outcome);
  if (failed) return t("outcome.failed", { why: failed[1] ?? "" });
  const lower = /^lower priority than (.*) \((-?\d+) < (-?\d+)\)$/.exec(outcome);
  if (lower) return t("outcome.priority", { rule: lower[1] ?? "", less: lower[2] ?? "", more: lower[3] ?? "" });
  const weaker = /^(\w+) is weaker than (\w+) of (.*)$/.exec(outcome);
  if (weaker) return t("outcome.weaker", { loser: keyed("trigger", weaker[1] ?? "", t), winner: keyed("trigger", weaker[2] ?? "", t), rule: weaker[3] ?? "" });
  const other = /^(shorter match than|later in the file than|only for account|only on) (.*)$/.exec(outcome);
  switch (other?.[1]) {
    case "shorter match than": return t("outcome.shorter", { rule: other[2] ?? "" });
    case "later in the file than": return t("outcome.later", { rule: other[2] ?? "" });
    case "only for account": return t("outcome.account", { names: other[2] ?? "" });
    case "only on": return t("outcome.on", { names: other[2] ?? "" });
    default: return outcome;
  }
}
