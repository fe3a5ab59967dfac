import { describe, expect, it } from "vitest";
import { translate } from "./index";
import { keyed, outcomeText, reasonText } from "./said";
import type { Translate } from "./index";

const zh: Translate = (key, holes) => translate("zh-CN", key, holes);
const names = { group: (id: string) => (id === "aftersales" ? "售后" : id), agent: (id: string) => (id === "li" ? "小李" : id) };

describe("what services say", () => {
  it.each([
    ["rule returns", "规则「returns」"], ["transferred to group aftersales", "转到售后"], ["transferred to li", "转给 小李"],
    ["hold is over, the agent is offline", "挂起时间到，客服离线"], ["conversation is silent", "对方一直没有说话"], ["客户要求晚点再说", "客户要求晚点再说"],
  ])("a reason: %s", (reason, want) => expect(reasonText(reason, zh, names)).toBe(want));

  it.each([
    ["won", "选中"], ["lower priority than returns (-100 < 40)", "优先级低于「returns」（-100 < 40）"], ["contains is weaker than exact of returns", "包含弱于「returns」的等于"],
    ["shorter match than a b", "匹配得比「a b」短"], ["only for account shop, club", "只用于账号 shop, club"], ["condition failed: once_per ever", "条件不满足：once_per ever"], ["something new", "something new"],
  ])("an outcome of a dry run: %s", (outcome, want) => expect(outcomeText(outcome, zh)).toBe(want));

  it("shows a word without a translation as it is", () => {
    expect(keyed("check", "clock", zh)).toBe("时钟");
    expect(keyed("check", "brand_new", zh)).toBe("brand_new");
    expect(keyed("reach", "new", zh, "the service's words")).toBe("the service's words");
  });
});
