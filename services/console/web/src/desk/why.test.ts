import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { AssignmentReason, AssignmentSchema } from "../gen/wxbus/agentrouting/v1/conversation_pb";
import { translate } from "../i18n";
import { excludedText, whyOf } from "./why";

const zh: Parameters<typeof whyOf>[1] = (key, holes) => translate("zh-CN", key, holes);
const en: Parameters<typeof whyOf>[1] = (key, holes) => translate("en", key, holes);

describe("why somebody was chosen", () => {
  it("is said in the reader's language", () => {
    const a = create(AssignmentSchema, { winner: "li", reason: AssignmentReason.LEAST_LOAD, choices: 3, loadAfter: 2, capacity: 5, why: "least load of 3, 2/5" });
    expect(whyOf(a, zh)).toBe("3 人里最空，接了是 2/5");
    expect(whyOf(a, en)).toBe("least load among 3, 2/5 with this one");
  });

  it("keeps what the person who decided wrote", () => {
    expect(whyOf(create(AssignmentSchema, { winner: "boss", reason: AssignmentReason.TAKEN_OVER, remark: "VIP" }), zh)).toBe("主管接管，VIP");
  });

  it("falls back to the words of old decisions", () => {
    expect(whyOf(create(AssignmentSchema, { why: "last agent, online, 3/5" }), zh)).toBe("last agent, online, 3/5");
    expect(whyOf(undefined, zh)).toBe("");
  });

  it("has words for every reason and every filter", () => {
    for (const reason of Object.values(AssignmentReason).filter((r): r is AssignmentReason => typeof r === "number" && r !== AssignmentReason.UNSPECIFIED)) expect(whyOf(create(AssignmentSchema, { reason }), zh)).not.toBe("");
    for (const filter of ["offline", "away", "full", "skill", "language", "declined"]) expect(excludedText(filter, zh)).not.toBe(filter);
    expect(excludedText("new one", zh)).toBe("new one");
  });
});
