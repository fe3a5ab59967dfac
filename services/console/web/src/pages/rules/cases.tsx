import { useQueries } from "@tanstack/react-query";
import { useCallback, useState } from "react";
import { useI18n } from "../../i18n";
import { useClients } from "../../rpc/clients";
import { Icon } from "../../ui/icon";

// A case is a sentence of a fan and the rule that should win it; no name means that none should.
export interface Case {
  account: string;
  text: string;
  rule: string;
}

const storage = "wxbus.rule-cases";
const most = 20; // each one is tried with every change of the draft

// readCases takes what was stored, and nothing that is not ours.
export function readCases(raw: string | null): Case[] {
  try {
    const list: unknown = JSON.parse(raw ?? "[]");
    if (!Array.isArray(list)) return [];
    return list.filter((c): c is Case => typeof c === "object" && c !== null && ["account", "text", "rule"].every((k) => typeof (c as Record<string, unknown>)[k] === "string")).slice(-most);
  } catch {
    return [];
  }
}

// withCase puts a case in: a sentence has one expectation for each account, and the oldest is forgotten.
export const withCase = (cases: readonly Case[], c: Case): Case[] => [...without(cases, c), c].slice(-most);
export const without = (cases: readonly Case[], c: Pick<Case, "account" | "text">): Case[] => cases.filter((x) => x.account !== c.account || x.text !== c.text);

function stored(): Case[] {
  try {
    return readCases(localStorage.getItem(storage));
  } catch {
    return [];
  }
}

// useCases keeps cases on this computer, as drafts of answers are kept.
export function useCases() {
  const [cases, set] = useState(stored);
  const keep = useCallback((next: Case[]) => {
    set(next);
    try {
      localStorage.setItem(storage, JSON.stringify(next));
    } catch {
      // without storage they last for this visit
    }
  }, []);
  return { cases, add: useCallback((c: Case) => keep(withCase(stored(), c)), [keep]), remove: useCallback((c: Case) => keep(without(stored(), c)), [keep]) };
}

// Cases tries every saved case with the draft or the live rules: what no longer does what was expected stands out before it is published.
export function Cases({ cases, yaml, version, onOpen, onRemove }: { cases: readonly Case[]; yaml: Uint8Array | undefined; version: string; onOpen(c: Case): void; onRemove(c: Case): void }) {
  const { t } = useI18n();
  const { rules } = useClients();
  const runs = useQueries({
    queries: cases.map((c) => ({
      queryKey: ["dry-run", "case", c.account, c.text, version, yaml?.length ?? -1], enabled: yaml !== undefined, retry: false,
      queryFn: () => rules.dryRun({ account: c.account, on: "text", text: c.text, yaml: yaml as Uint8Array<ArrayBuffer> }),
    })),
  });
  if (cases.length === 0) return null;
  const differ = runs.filter((r, i) => r.data && r.data.rule !== cases[i]?.rule).length;
  const pass = runs.filter((r, i) => r.data && r.data.rule === cases[i]?.rule).length;
  return (
    <section className="dry-result cases" aria-label={t("cases.title")}>
      <div className="row t12 t3"><h3 className="t12 grow">{t("cases.title")}</h3><span data-testid="cases-count">{t("cases.pass", { count: pass })}{differ > 0 && <> · <b className="tone-amber">{t("cases.differ", { count: differ })}</b></>}</span></div>
      {cases.map((c, i) => {
        const now = runs[i]?.data?.rule;
        const same = now === c.rule;
        return (
          <div key={`${c.account}/${c.text}`} className="case">
            <span className={now === undefined ? "t3" : same ? "tone-green" : "tone-amber"}><Icon name={now === undefined ? "clock" : same ? "check" : "alert"} size={14} /></span>
            <button type="button" className="plain cut" onClick={() => onOpen(c)}>{c.text}</button>
            <span className={`t12 cut ${now === undefined || same ? "t3" : "tone-amber"}`}>{now === undefined || same ? c.rule || t("try.miss") : t("cases.was", { before: c.rule || t("cases.none"), now: now || t("cases.none") })}</span>
            <button type="button" className="icon-button tiny" aria-label={t("cases.remove", { text: c.text })} onClick={() => onRemove(c)}><Icon name="x" size={12} /></button>
          </div>
        );
      })}
    </section>
  );
}
