import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { actionIDs, actions, type ActionID } from "./actions";
import { chordOf } from "./chord";

type Handlers = Partial<Record<ActionID, () => void>>;

interface Keys {
  chord(id: ActionID): string;
  rebind(id: ActionID, chord: string): void;
  reset(): void;
  // available are the actions that do something now.
  available(): ActionID[];
  run(id: ActionID): void;
  bind(handlers: Handlers): () => void;
  // pause stops single keys while a dialogue reads keys itself.
  pause(): () => void;
}

const Context = createContext<Keys | null>(null);
const storage = "wxbus.keys";

type Chords = Partial<Record<ActionID, string>>;

function stored(): Chords {
  try {
    const raw: unknown = JSON.parse(localStorage.getItem(storage) ?? "{}");
    if (typeof raw !== "object" || !raw) return {};
    return Object.fromEntries(Object.entries(raw).filter(([id, c]) => id in actions && typeof c === "string"));
  } catch {
    return {}; // no storage or not ours: the defaults
  }
}

const typing = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.closest("[role=combobox],[role=spinbutton]") !== null);

// Enter, space and the arrows belong to the button, link or list that has the focus.
const taken = (target: EventTarget | null, chord: string): boolean =>
  target instanceof HTMLElement && /^(enter|space|up|down|left|right)$/.test(chord) && target.closest("button,a,[role=tab],[role=menuitem],[role=option],[role=slider],[role=switch],.ant-dropdown,.ant-select-dropdown") !== null;

export function KeysProvider({ children }: { children: ReactNode }) {
  const [own, setOwn] = useState<Chords>(stored);
  const layers = useRef<Handlers[]>([]);
  const paused = useRef(0);
  const ownRef = useRef(own);
  ownRef.current = own;

  const find = useCallback((id: ActionID) => {
    for (let i = layers.current.length - 1; i >= 0; i--) {
      const h = layers.current[i]?.[id];
      if (h) return h;
    }
    return undefined;
  }, []);

  const keys = useMemo<Keys>(() => {
    const save = (chords: Chords) => {
      setOwn(chords);
      try {
        localStorage.setItem(storage, JSON.stringify(chords));
      } catch {
        // a browser without storage keeps the change for this visit
      }
    };
    return {
      chord: (id) => ownRef.current[id] ?? actions[id],
      rebind: (id, chord) => save({ ...ownRef.current, [id]: chord }),
      reset: () => save({}),
      available: () => actionIDs.filter((id) => find(id)),
      run: (id) => find(id)?.(),
      bind(handlers) {
        layers.current.push(handlers);
        return () => {
          layers.current = layers.current.filter((h) => h !== handlers);
        };
      },
      pause() {
        paused.current++;
        return () => void paused.current--;
      },
    };
    // own is a dependency so that key caps on buttons are drawn again after a change.
    // oxlint-disable-next-line react/exhaustive-deps
  }, [find, own]);

  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      if (e.isComposing || e.defaultPrevented || paused.current > 0) return;
      const chord = chordOf(e);
      const plain = (!/^(mod|alt)\+/.test(chord) && !/^(f\d+)$/.test(chord)) || chord === "mod+z"; // a text field undoes its own
      if ((plain && typing(e.target)) || taken(e.target, chord)) return;
      for (const id of actionIDs) {
        if ((ownRef.current[id] ?? actions[id]) !== chord) continue;
        const handler = find(id);
        if (!handler) continue;
        e.preventDefault();
        handler();
        return;
      }
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [find]);

  return <Context.Provider value={keys}>{children}</Context.Provider>;
}

export function useKeys(): Keys {
  const keys = useContext(Context);
  if (!keys) throw new Error("useKeys outside of KeysProvider");
  return keys;
}

// useActions offers what the screen can do while it is mounted. A handler that is undefined is not offered.
export function useActions(handlers: Handlers): void {
  const { bind } = useKeys();
  const latest = useRef(handlers);
  latest.current = handlers;
  const offered = actionIDs.filter((id) => handlers[id]).join();
  useEffect(() => {
    const layer: Handlers = {};
    for (const id of offered.split(",").filter(Boolean) as ActionID[]) layer[id] = () => latest.current[id]?.();
    return bind(layer);
  }, [bind, offered]);
}
