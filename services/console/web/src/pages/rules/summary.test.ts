import { expect, it } from "vitest";
import { translate } from "../../i18n";
import { summaryOf } from "../rules";

const zh = (key: Parameters<typeof translate>[1], holes?: Parameters<typeof translate>[2]) => translate("zh-CN", key, holes);
const groupOf = (id: string) => (id === "aftersales" ? "售后" : id);

it.each([
  ["name: returns\nmatch: {contains: [退货, 退款]}\ndo:\n  - reply: {text: 请稍候}\n  - transfer: {queue: aftersales}\n", ["text"], "包含 退货 | 退款 → 请稍候 + 转到售后"],
  ["name: image\non: [image]\nmatch: any\ndo:\n  - tag: 图\n", ["image"], "图片 → 打标签 图"],
  ["name: near\nmatch: {near: {places: stores, within: 20km}}\ndo: [none]\n", ["location"], "位置"],
])("a rule in one line of words", (yaml, kinds, want) => expect(summaryOf({ yaml, kinds }, zh, groupOf)).toBe(want));
