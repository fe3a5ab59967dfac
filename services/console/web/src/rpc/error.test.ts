import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { translate } from "../i18n";
import { say } from "./error";

const t = (key: Parameters<typeof translate>[1], holes?: Record<string, string | number>) => translate("en", key, holes);

describe("errors in words", () => {
  it("puts the words first and the code after", () => {
    expect(say(new ConnectError("window closed", Code.FailedPrecondition), t)).toEqual({ text: "Not possible right now: window closed", code: "failed_precondition", retry: false });
    expect(say(new ConnectError("", Code.Unavailable), t)).toMatchObject({ code: "unavailable", retry: true });
  });
  it("says after how many seconds to try again", () => {
    expect(say(new ConnectError("", Code.ResourceExhausted, { "Retry-After": "30" }), t).text).toBe("Too many requests. Try again in 30 s.");
  });
  it("knows a lost network from an error of the server", () => {
    expect(say(new TypeError("Failed to fetch"), t).code).toBe("network");
    expect(say(new Error("boom"), t)).toMatchObject({ code: "unknown", text: "The server failed." });
  });
});
