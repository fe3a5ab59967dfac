import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { ReportRowSchema } from "../gen/wxbus/agentrouting/v1/report_service_pb";
import { everyDay } from "./reports";

it("days on which nothing happened stand in their place", () => {
  const from = Date.UTC(2026, 10, 26, 16); // 27 November in Shanghai
  const rows = everyDay([create(ReportRowSchema, { key: "2026-11-28", opened: 4n })], from, 3, "Asia/Shanghai");
  expect(rows.map((r) => [r.key, Number(r.opened)])).toEqual([["2026-11-27", 0], ["2026-11-28", 4], ["2026-11-29", 0]]);
});
