import { createContext, useCallback, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import { zone } from "../ui/zone";
import { words, type Key } from "./words";

export type Locale = "zh-CN" | "en";
export type Holes = Record<string, string | number>;
export type Translate = (key: Key, holes?: Holes) => string;

interface I18n {
  locale: Locale;
  setLocale(locale: Locale): void;
  t: Translate;
  number(n: number | bigint): string;
  time(ms: number): string;
  day(ms: number): string;
  dateTime(ms: number): string;
  instant(ms: number): string; // to the millisecond
}

const Context = createContext<I18n | null>(null);
const storage = "wxbus.locale";

// translate fills the holes of a text. Values are text as well: nothing is ever read as markup.
export function translate(locale: Locale, key: Key, holes?: Holes): string {
  const text = words[key][locale === "en" ? 1 : 0];
  return holes ? text.replace(/\{(\w+)\}/g, (all, name: string) => (name in holes ? String(holes[name]) : all)) : text;
}

function stored(): Locale {
  try {
    return localStorage.getItem(storage) === "en" ? "en" : "zh-CN";
  } catch {
    return "zh-CN";
  }
}

export function I18nProvider({ children }: { children: ReactNode }) {
  const [locale, set] = useState<Locale>(stored);
  const setLocale = useCallback((next: Locale) => {
    set(next);
    try {
      localStorage.setItem(storage, next);
    } catch {
      // without storage the choice lasts for this visit
    }
  }, []);
  useEffect(() => {
    document.documentElement.lang = locale;
  }, [locale]);

  const value = useMemo<I18n>(() => {
    const timeZone = zone();
    const number = new Intl.NumberFormat(locale);
    const time = new Intl.DateTimeFormat("en-GB", { timeZone, hour: "2-digit", minute: "2-digit" });
    const day = new Intl.DateTimeFormat(locale, { timeZone, month: locale === "en" ? "short" : "numeric", day: "numeric" });
    const full = new Intl.DateTimeFormat("sv-SE", { timeZone, dateStyle: "short", timeStyle: "medium" });
    const exact = new Intl.DateTimeFormat("en-GB", { timeZone, hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
    return {
      locale, setLocale,
      t: (key, holes) => translate(locale, key, holes),
      number: (n) => number.format(n),
      time: (ms) => time.format(ms),
      day: (ms) => day.format(ms),
      dateTime: (ms) => full.format(ms),
      instant: (ms) => exact.format(ms),
    };
  }, [locale, setLocale]);
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

export function useI18n(): I18n {
  const i18n = useContext(Context);
  if (!i18n) throw new Error("useI18n outside of I18nProvider");
  return i18n;
}
