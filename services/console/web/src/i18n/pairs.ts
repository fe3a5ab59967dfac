// Pairs holds every text in Chinese and English, side by side. A text without one of them does not compile.
export type Pairs = Record<string, readonly [zh: string, en: string]>;
