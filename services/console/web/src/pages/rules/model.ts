import { parse, stringify } from "yaml";

// A rule in the form: what most rules use has a field of its own; everything else stays as it was
// written and is edited as YAML.
export interface RuleForm {
  name: string;
  priority: number;
  accounts: string[];
  on: string[];
  match: Record<MatchKind, string[]>;
  any: boolean;
  actions: Action[];
  rest: Record<string, unknown>;
}

export type MatchKind = "exact" | "prefix" | "contains" | "regex" | "event_key";
export const matchKinds: MatchKind[] = ["exact", "prefix", "contains", "regex", "event_key"];

export type Action =
  | { kind: "text"; text: string }
  | { kind: "queue"; queue: string }
  | { kind: "native" }
  | { kind: "tag"; tag: string }
  | { kind: "none" }
  | { kind: "yaml"; yaml: string };

type Loose = Record<string, unknown>;
const isMap = (v: unknown): v is Loose => typeof v === "object" && v !== null && !Array.isArray(v);
const texts = (v: unknown): string[] => (Array.isArray(v) ? v.map(String) : v === undefined || v === null ? [] : [String(v)]);

const known = new Set(["name", "priority", "account", "accounts", "on", "match", "do"]);

// readRule returns the form of a rule, or undefined when the text is no rule.
export function readRule(yaml: string): RuleForm | undefined {
  let doc: unknown;
  try {
    doc = parse(yaml);
  } catch {
    return undefined;
  }
  if (Array.isArray(doc) && doc.length === 1) doc = doc[0];
  if (!isMap(doc)) return undefined;
  const match = doc["match"];
  const lists = isMap(match) ? match : {};
  if (isMap(match) && Object.keys(match).some((k) => !(matchKinds as string[]).includes(k))) return undefined;
  return {
    name: String(doc["name"] ?? ""), priority: Number(doc["priority"] ?? 0), accounts: texts(doc["account"] ?? doc["accounts"]), on: texts(doc["on"]), any: match === "any",
    match: Object.fromEntries(matchKinds.map((k) => [k, texts(lists[k])])) as Record<MatchKind, string[]>,
    actions: (Array.isArray(doc["do"]) ? doc["do"] : doc["do"] === undefined ? [] : [doc["do"]]).map(readAction),
    rest: Object.fromEntries(Object.entries(doc).filter(([k]) => !known.has(k))),
  };
}

function readAction(v: unknown): Action {
  if (v === "none") return { kind: "none" };
  if (isMap(v) && Object.keys(v).length === 1) {
    const reply = v["reply"];
    const transfer = v["transfer"];
    if (isMap(reply) && Object.keys(reply).length === 1 && typeof reply["text"] === "string") return { kind: "text", text: reply["text"] };
    if (transfer === "native") return { kind: "native" };
    if (isMap(transfer) && Object.keys(transfer).length === 1 && typeof transfer["queue"] === "string") return { kind: "queue", queue: transfer["queue"] };
    if (typeof v["tag"] === "string") return { kind: "tag", tag: v["tag"] };
  }
  return { kind: "yaml", yaml: stringify(v).trim() };
}

function writeAction(a: Action): unknown {
  switch (a.kind) {
    case "text": return { reply: { text: a.text } };
    case "queue": return { transfer: { queue: a.queue } };
    case "native": return { transfer: "native" };
    case "tag": return { tag: a.tag };
    case "none": return "none";
    case "yaml": return parse(a.yaml);
  }
}

// writeRule is the inverse of readRule; what is empty is left out. It throws when the YAML of an action cannot be read.
export function writeRule(r: RuleForm): string {
  const match = Object.fromEntries(Object.entries(r.match).filter(([, list]) => list.length > 0));
  const doc: Loose = {
    name: r.name,
    ...(r.accounts.length === 1 ? { account: r.accounts[0] } : r.accounts.length > 1 ? { account: r.accounts } : {}),
    priority: r.priority,
    ...(r.on.length > 0 ? { on: r.on } : {}),
    ...(r.any ? { match: "any" } : Object.keys(match).length > 0 ? { match } : {}),
    ...r.rest,
    do: r.actions.map(writeAction),
  };
  return stringify(doc, { lineWidth: 0 });
}

export const emptyRule = (): RuleForm => ({ name: "", priority: 50, accounts: [], on: [], any: false, match: { exact: [], prefix: [], contains: [], regex: [], event_key: [] }, actions: [{ kind: "text", text: "" }], rest: {} });
