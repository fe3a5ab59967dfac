import { describe, expect, it } from "vitest";
import { linkify, safeURL } from "./content";

describe("addresses that fans write", () => {
  it.each(["javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)", "data:text/html,<script>1</script>", "vbscript:x", "file:///etc/passwd", "blob:https://x/1", "//evil.example", "weixin://dl/x", ""])("%j is never followed", (raw) => {
    expect(safeURL(raw)).toBeUndefined();
  });
  it("follows web addresses", () => expect(safeURL("https://example.com/a?b=1")).toBe("https://example.com/a?b=1"));

  it("finds them in a text and leaves the rest text", () => {
    expect(linkify("看 https://a.example/x?y=1。然后 <b>hi</b> javascript:alert(1)")).toEqual(["看 ", { href: "https://a.example/x?y=1", text: "https://a.example/x?y=1" }, "。然后 <b>hi</b> javascript:alert(1)"]);
    expect(linkify('"><img src=x onerror=alert(1)>')).toEqual(['"><img src=x onerror=alert(1)>']);
    expect(linkify("(see http://a.example/b).")).toEqual(["(see ", { href: "http://a.example/b", text: "http://a.example/b" }, ")."]);
  });
});
