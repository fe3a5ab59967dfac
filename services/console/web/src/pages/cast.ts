import { useCallback, useEffect, useState } from "react";

// useCast shows a page on a whole screen, for a television on the wall of a room: nothing but the figures, larger, and
// the screen stays on. Leaving the full screen, by Esc for example, ends it.
export function useCast(): [boolean, () => void] {
  const [on, set] = useState(false);
  useEffect(() => {
    const left = () => set(document.fullscreenElement !== null);
    document.addEventListener("fullscreenchange", left);
    return () => document.removeEventListener("fullscreenchange", left);
  }, []);
  useEffect(() => {
    if (!on) return undefined;
    const root = document.documentElement;
    root.dataset["cast"] = "on";
    const awake = navigator.wakeLock?.request("screen").catch(() => undefined); // a battery that is low may refuse
    return () => {
      delete root.dataset["cast"];
      if (document.fullscreenElement) void document.exitFullscreen();
      void awake?.then((lock) => lock?.release());
    };
  }, [on]);
  const toggle = useCallback(() => {
    if (document.fullscreenElement) void document.exitFullscreen();
    else void document.documentElement.requestFullscreen().catch(() => set((v) => !v)); // a browser without full screen shows it in its window
  }, []);
  return [on, toggle];
}
