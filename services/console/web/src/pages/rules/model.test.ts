import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { emptyRule, readRule, writeRule } from "./model";

const yaml = `name: 改签-说明
account: air
priority: 80
on: [text]
match:
  contains: [改签, 改到, "2026"]
cooldown: 10m
do:
  - reply: {text: "国内航班起飞前 2 小时可改签"}
  - tag: 改签意向
  - webhook: {url: "https://example.com/hook"}
`;

describe("a rule in the form", () => {
  it("keeps everything that the form does not know", () => {
    const form = readRule(yaml);
    expect(form).toMatchObject({ name: "改签-说明", priority: 80, accounts: ["air"], match: { contains: ["改签", "改到", "2026"] }, rest: { cooldown: "10m" } });
    expect(form?.actions.map((a) => a.kind)).toEqual(["text", "tag", "yaml"]);
    if (form) expect(parse(writeRule(form))).toEqual(parse(yaml));
  });

  it("writes texts that look like something else as texts", () => {
    const rule = { ...emptyRule(), name: "yes", match: { ...emptyRule().match, exact: ["1", "true", "- a", "null", "{x}", "a: b"] }, actions: [{ kind: "text" as const, text: "line\nline: #2" }] };
    const back = readRule(writeRule(rule));
    expect(back).toEqual(rule);
  });

  it("leaves what it cannot show to the text", () => {
    expect(readRule("name: [")).toBeUndefined();
    expect(readRule("name: x\nmatch: {near: {km: 5}}\ndo: none")).toBeUndefined();
    expect(readRule("just text")).toBeUndefined();
  });
});
