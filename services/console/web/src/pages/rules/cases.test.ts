import { describe, expect, it } from "vitest";
import { readCases, withCase, without, type Case } from "./cases";

const a: Case = { account: "shop", text: "退货", rule: "returns" };

describe("saved cases", () => {
  it("a sentence has one expectation for each account", () => {
    const list = withCase(withCase([a], { ...a, rule: "" }), { ...a, account: "club" });
    expect(list).toEqual([{ ...a, rule: "" }, { ...a, account: "club" }]);
    expect(without(list, a)).toEqual([{ ...a, account: "club" }]);
  });
  it("the oldest goes when there are too many", () => {
    let list: Case[] = [];
    for (let i = 0; i < 30; i++) list = withCase(list, { ...a, text: String(i) });
    expect(list).toHaveLength(20);
    expect(list[0]?.text).toBe("10");
  });
  it.each([[null], ["{"], ["{}"], ['[1,null,{"account":"shop"}]']])("%s holds none", (raw) => expect(readCases(raw)).toEqual([]));
});
