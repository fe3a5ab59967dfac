import { App as AntApp, ConfigProvider } from "antd";
import en from "antd/locale/en_US";
import zh from "antd/locale/zh_CN";
import { createContext, useCallback, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import { useI18n } from "../i18n";
import { styleNonce } from "../rpc/trusted";
import { themeOf, type Mode } from "./theme";

export type Choice = Mode | "system";

const Context = createContext<{ mode: Mode; choice: Choice; choose(choice: Choice): void } | null>(null);
const storage = "wxbus.theme";
const dark = () => globalThis.matchMedia?.("(prefers-color-scheme: dark)");

function stored(): Choice {
  try {
    const choice = localStorage.getItem(storage);
    return choice === "light" || choice === "dark" ? choice : "system";
  } catch {
    return "system";
  }
}

// ThemeProvider gives Ant Design and our own stylesheets the same tokens in the same mode.
export function ThemeProvider({ children }: { children: ReactNode }) {
  const { locale } = useI18n();
  const [choice, set] = useState<Choice>(stored);
  const [system, setSystem] = useState<Mode>(dark()?.matches ? "dark" : "light");
  useEffect(() => {
    const media = dark();
    const follow = () => setSystem(media?.matches ? "dark" : "light");
    media?.addEventListener("change", follow);
    return () => media?.removeEventListener("change", follow);
  }, []);
  const mode = choice === "system" ? system : choice;
  useEffect(() => {
    document.documentElement.dataset["theme"] = mode;
  }, [mode]);
  const choose = useCallback((next: Choice) => {
    set(next);
    try {
      localStorage.setItem(storage, next);
    } catch {
      // without storage the choice lasts for this visit
    }
  }, []);
  const value = useMemo(() => ({ mode, choice, choose }), [mode, choice, choose]);
  const csp = useMemo(() => {
    const nonce = styleNonce();
    return nonce ? { nonce } : {};
  }, []);
  const theme = useMemo(() => themeOf(mode), [mode]);
  return (
    <Context.Provider value={value}>
      <ConfigProvider theme={theme} locale={locale === "en" ? en : zh} csp={csp} modal={{ mask: { blur: false } }} drawer={{ mask: { blur: false } }} button={{ autoInsertSpace: false }} wave={{ disabled: true }}>
        <AntApp component={false} notification={{ placement: "topRight", maxCount: 3 }}>{children}</AntApp>
      </ConfigProvider>
    </Context.Provider>
  );
}

export function useTheme() {
  const theme = useContext(Context);
  if (!theme) throw new Error("useTheme outside of ThemeProvider");
  return theme;
}
