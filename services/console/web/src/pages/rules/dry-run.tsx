import { useQuery } from "@tanstack/react-query";
import { Button, Input, Segmented, Select } from "antd";
import { useDeferredValue, useState } from "react";
import { useGroupNames } from "../../desk/names";
import { useI18n } from "../../i18n";
import { keyed, outcomeText } from "../../i18n/said";
import { useClients } from "../../rpc/clients";
import { say } from "../../rpc/error";
import { Dot, Tag } from "../../ui/parts";
import type { Content } from "../../gen/wxbus/event/v1/content_pb";
import { kindOf } from "../../desk/content";
import { Cases, useCases } from "./cases";

const live = new Uint8Array(); // the rules that answer now

// DryRun tells while one types what the draft or the live rules would do, and why. Nothing is sent.
export function DryRun({ account, accounts, version }: { account: string; accounts: string[]; version: string }) {
  const { t } = useI18n();
  const { rules } = useClients();
  const groupOf = useGroupNames();
  const [text, setText] = useState("");
  const [of, setOf] = useState<"draft" | "live">("draft");
  const [chosen, setChosen] = useState("");
  const acct = chosen || account;
  const words = useDeferredValue(text);
  const draft = useQuery({ queryKey: ["draft", version], queryFn: () => rules.exportRules({ set: { set: { case: "draft", value: true } } }), enabled: of === "draft" });
  const run = useQuery({
    queryKey: ["dry-run", acct, words, of, version, draft.data?.yaml.length ?? 0], enabled: words !== "" && acct !== "" && (of === "live" || draft.data !== undefined), placeholderData: (before) => before, retry: false,
    queryFn: () => rules.dryRun({ account: acct, on: "text", text: words, yaml: of === "draft" ? draft.data?.yaml ?? new Uint8Array() : live }),
  });
  const { cases, add, remove } = useCases();
  const r = run.data;
  const problem = run.error ?? draft.error;
  return (
    <section className="pane dry-run" aria-label={t("try.title")}>
      <div className="pane-head"><h2 className="t14 m">{t("try.title")}</h2><span className="t12 t3 cut grow">{t("try.hint")}</span>
        <Segmented size="small" value={of} onChange={setOf} aria-label={t("try.title")} options={[{ value: "draft" as const, label: t("try.draft") }, { value: "live" as const, label: t("try.live") }]} /></div>
      <div className="col" style={{ padding: 16 }}>
        <Input.TextArea rows={2} value={text} onChange={(e) => setText(e.target.value)} placeholder={t("try.text")} aria-label={t("try.text")} data-testid="try" />
        {accounts.length > 1 && <Select size="small" value={acct} onChange={setChosen} aria-label={t("account")} options={accounts.map((a) => ({ value: a, label: a }))} />}
      </div>
      {problem && <p className="tone-red t12" role="alert" style={{ padding: "0 16px" }}>{say(problem, t).text}</p>}
      {r && words && (
        <div className="dry-result" data-testid="try-result">
          <div className="row"><Dot tone={r.rule ? "green" : "calm"} /><b className="grow cut">{r.rule ? t("try.hit", { rule: r.rule }) : t("try.miss")}</b>{r.queue && <Tag>{t("try.queue", { queue: groupOf(r.queue) })}</Tag>}<Button size="small" type="text" onClick={() => add({ account: acct, text: words, rule: r.rule })}>{t("cases.save")}</Button></div>
          {r.matched && <p className="t14"><Marked text={words} part={r.matched} /></p>}
          <h3 className="t12 t3">{t("try.considered")}</h3>
          {r.candidates.map((c) => (
            <div key={c.rule} className={`step ${c.rule === r.rule ? "won" : "lost"}`}><span className="t3">{c.priority}</span><span className="words"><b>{c.rule}</b> {outcomeText(c.outcome, t)}</span><span className="t3">{keyed("trigger", c.trigger, t)}</span></div>
          ))}
          {(r.replies.length > 0 || r.tags.length > 0) && <h3 className="t12 t3">{t("try.fanSees")}</h3>}
          {r.replies.map((c, i) => <div key={`${i}/${kindOf(c)}`} className="msg me auto"><div className="bub"><Shown c={c} /></div></div>)}
          {r.tags.length > 0 && <div className="row wrap">{r.tags.map((x) => <Tag key={x} tone="green">{x}</Tag>)}</div>}
          {r.asks.map((a) => <p key={a} className="t12 t3">{a}</p>)}
        </div>
      )}
      <Cases cases={cases} yaml={of === "draft" ? draft.data?.yaml : live} version={`${of}/${version}`} onOpen={(c) => { setText(c.text); setChosen(c.account); }} onRemove={remove} />
    </section>
  );
}

function Shown({ c }: { c: Content }) {
  const { t } = useI18n();
  if (c.body.case === "text") return <span className="words">{c.body.value.content}</span>;
  if (c.body.case === "menu") return <span className="words">{[c.body.value.head, ...c.body.value.items.map((i) => `· ${i.content}`), c.body.value.tail].filter(Boolean).join("\n")}</span>;
  if (c.body.case === "news") return <span>{c.body.value.articles[0]?.title}</span>;
  return <span>[{t(`block.${kindOf(c)}`)}]</span>;
}

// Marked writes the part that matched in its text. Folded matches may not be found letter by letter.
export function Marked({ text, part }: { text: string; part: string }) {
  const at = text.toLowerCase().indexOf(part.toLowerCase());
  if (at < 0) return <>{text}</>;
  return <>{text.slice(0, at)}<mark>{text.slice(at, at + part.length)}</mark>{text.slice(at + part.length)}</>;
}
