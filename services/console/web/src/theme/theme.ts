import { theme as antd, type ThemeConfig } from "antd";
import tokens from "./tokens.json";

export type Mode = "light" | "dark";

type Named = Record<string, Record<string, string | number>>;
const groups = { color: tokens.color, shadow: tokens.shadow } as unknown as Record<string, Named>;

// value reads a name such as "color.brand" of the design tokens; anything else is a value already.
function value(name: unknown, mode: Mode): unknown {
  if (typeof name !== "string") return name;
  const inner = /\{(color\.[\w-]+)\}/.exec(name);
  if (inner?.[1]) return name.replace(inner[0], String(value(inner[1], mode)));
  const [group, key] = name.split(/\.(.*)/);
  if (group === "type" && key === "family") return tokens.type.family;
  if (group === "type" && key === "mono") return tokens.type.mono;
  const shade = group && key ? groups[group]?.[key] : undefined;
  return shade ? shade[mode] : name;
}

function resolve<T extends object>(map: T, mode: Mode): T {
  return Object.fromEntries(
    Object.entries(map).map(([k, v]) => [k, typeof v === "object" && v ? resolve(v as object, mode) : value(v, mode)]),
  ) as T;
}

// themeOf turns the design tokens into the theme of Ant Design, so that both have the same home.
export function themeOf(mode: Mode): ThemeConfig {
  const token = resolve(tokens.antd.token, mode);
  // In the dark the lighter hover of the main button would take its label below 4.5 : 1.
  if (mode === "dark") token.colorPrimaryHover = tokens.color.brand.dark;
  return {
    cssVar: { prefix: tokens.antd.cssVar.prefix, key: `${tokens.antd.cssVar.key}-${mode}` },
    hashed: false,
    algorithm: mode === "dark" ? antd.darkAlgorithm : antd.defaultAlgorithm,
    token,
    components: resolve(tokens.antd.components, mode) as NonNullable<ThemeConfig["components"]>,
  };
}

export const accountHues = Object.keys(tokens.color).filter((name) => name.startsWith("acc-"));

export const breakpoint = tokens.breakpoint;
export const threshold = tokens.threshold;
