// Sounds are made here, so that nothing has to be loaded. Each says one thing, and none says anything
// that the screen does not show.

export const soundEvents = ["offer", "message", "mention", "red", "late", "failed", "lost", "back"] as const;
export type SoundEvent = (typeof soundEvents)[number];
export type When = "on" | "background" | "off";

export interface SoundSettings {
  volume: number; // 0 to 1
  desktop: boolean;
  events: Record<SoundEvent, When>;
}

const defaults: SoundSettings = { volume: 0.5, desktop: false, events: { offer: "on", message: "on", mention: "on", red: "on", late: "off", failed: "on", lost: "off", back: "off" } };
const storage = "wxbus.sounds";

// notes are [frequency, start, length] in Hz and milliseconds.
const notes: Record<SoundEvent, readonly (readonly [number, number, number])[]> = {
  offer: [[659, 0, 90], [880, 90, 90]],
  message: [[587, 0, 80]],
  mention: [[988, 0, 80]],
  red: [[262, 0, 90], [262, 140, 90]],
  late: [[330, 0, 90], [294, 120, 90], [262, 240, 140]],
  failed: [[220, 0, 140]],
  lost: [[523, 0, 90], [392, 100, 120]],
  back: [[392, 0, 90], [523, 100, 120]],
};

export function loadSounds(): SoundSettings {
  try {
    const raw = JSON.parse(localStorage.getItem(storage) ?? "{}") as Partial<SoundSettings>;
    return { ...defaults, ...raw, events: { ...defaults.events, ...raw.events } };
  } catch {
    return defaults;
  }
}

export function saveSounds(s: SoundSettings): void {
  try {
    localStorage.setItem(storage, JSON.stringify(s));
  } catch {
    // without storage the choice lasts for this visit
  }
}

let audio: AudioContext | undefined;

// play makes a sound if its event is on. A browser that has not let the page make sounds yet stays quiet.
export function play(event: SoundEvent, settings = loadSounds(), always = false): void {
  const when = settings.events[event];
  if (!always && (when === "off" || (when === "background" && document.hasFocus()))) return;
  if (typeof AudioContext === "undefined") return;
  audio ??= new AudioContext();
  void audio.resume();
  const begin = audio.currentTime;
  for (const [frequency, start, length] of notes[event]) {
    const tone = audio.createOscillator();
    const gain = audio.createGain();
    tone.frequency.value = frequency;
    gain.gain.setValueAtTime(0, begin + start / 1000);
    gain.gain.linearRampToValueAtTime(settings.volume * 0.3, begin + start / 1000 + 0.01);
    gain.gain.linearRampToValueAtTime(0, begin + (start + length) / 1000);
    tone.connect(gain).connect(audio.destination);
    tone.start(begin + start / 1000);
    tone.stop(begin + (start + length) / 1000 + 0.02);
  }
}
