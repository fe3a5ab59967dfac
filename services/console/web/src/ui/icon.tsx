// The icon set of the console: 24 grid, 1.75 stroke, round joins.
const paths = {
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM16.5 16.5 21 21",
  desk: "M4 5h16v11h-8l-4.5 4v-4H4z",
  wall: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  rule: "M6 4v16M6 8h8a4 4 0 0 1 4 4v0M6 16h12M15 9l3 3 3-3M18 13l3 3-3 3",
  mega: "M4 10v4l11 5V5zM15 9a3.5 3.5 0 0 1 0 6M7 15.5V20h3v-3",
  gauge: "M4 17a8.5 8.5 0 1 1 16 0M12 15l4-5M4 17h3M17 17h3",
  gear: "M12 15.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM12 3v3M12 18v3M3 12h3M18 12h3M5.6 5.6l2.2 2.2M16.2 16.2l2.2 2.2M18.4 5.6l-2.2 2.2M7.8 16.2l-2.2 2.2",
  check: "M5 12.5 10 17.5 19 7",
  x: "M6 6l12 12M18 6 6 18",
  clock: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17zM12 7v5l3.5 2",
  alert: "M12 4 2.8 20h18.4zM12 10v4.5M12 17.4v.1",
  ask: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17zM9.6 9.6c.2-1.5 1.2-2.3 2.5-2.3 1.4 0 2.4.9 2.4 2.2 0 1.8-2.4 1.9-2.4 3.7M12.050 16.3v.1",
  info: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17zM12 11v5M12 8v.1",
  send: "M4 12 20 4l-5 16-3.5-6.5zM11.5 13.5 20 4",
  img: "M4 5h16v14H4zM4 16l4.5-4.5 4 4L15 13l5 4.5M15.5 9.5v.1",
  mic: "M12 14a3 3 0 0 0 3-3V6a3 3 0 0 0-6 0v5a3 3 0 0 0 3 3zM6 11a6 6 0 0 0 12 0M12 17v4",
  video: "M3 6h12v12H3zM15 10.5 21 7v10l-6-3.5z",
  smile: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17zM8.5 14c1.8 2.4 5.2 2.4 7 0M9 9.5v.1M15 9.5v.1",
  mini: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17zM8.5 14.5a2 2 0 0 1 0-4M8.5 12.5h.1M15.5 9.5a2 2 0 0 1 0 4M10.5 14.5v-5h3v5",
  list: "M9 6h11M9 12h11M9 18h11M4.5 6v.1M4.5 12v.1M4.5 18v.1",
  bell: "M6 16V11a6 6 0 0 1 12 0v5l1.5 2h-15zM10 21h4",
  note: "M5 4h14v10l-5 6H5zM14 20v-6h5",
  xfer: "M4 8h14M14 4l4 4-4 4M20 16H6M10 12l-4 4 4 4",
  moon: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4",
  done: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17zM8 12.5l3 3 5-6",
  more: "M5.5 12v.1M12 12v.1M18.5 12v.1",
  pin: "M12 21c4.5-4.5 7-8 7-11a7 7 0 0 0-14 0c0 3 2.5 6.5 7 11zM12 12.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z",
  play: "M8 5.5v13l10.5-6.5z",
  pause: "M8 5v14M16 5v14",
  link: "M10 14a4 4 0 0 0 5.7 0l3.1-3.1a4 4 0 0 0-5.7-5.7L12 6.3M14 10a4 4 0 0 0-5.7 0l-3.1 3.1a4 4 0 0 0 5.7 5.7L12 17.7",
  tag: "M4 4h8l8 8-8 8-8-8zM8.5 8.5v.1",
  bolt: "M13 3 5 13.5h6L10.5 21 19 10h-6z",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  redo: "M20 5v5h-5M20 10a8 8 0 1 0 .5 4.5",
  undo: "M4 5v5h5M4 10a8 8 0 1 1-.5 4.5",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  plus: "M12 5v14M5 12h14",
  down: "M6 9.5l6 6 6-6",
  right: "M9.5 6l6 6-6 6",
  left: "M14.5 6l-6 6 6 6",
  up: "M6 14.5l6-6 6 6",
  path: "M6 8.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM18 20.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM6 8.5V14a4 4 0 0 0 4 4h5.5M6 8.5",
  globe: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17zM3.5 12h17M12 3.5c-5 5.5-5 11.5 0 17M12 3.5c5 5.5 5 11.5 0 17",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  user: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20.5a7.5 7.5 0 0 1 15 0",
  vol: "M4 9.5v5h4l5 4v-13l-5 4zM16.5 9a4 4 0 0 1 0 6M19 6.5a8 8 0 0 1 0 11",
  pen: "M4 20l1-4.5L16 4.5l3.5 3.5L8.5 19z",
  side: "M4 5h16v14H4zM14.5 5v14",
  hand: "M4 13l4-4 3 2 5-5M20 11l-4 4-3-2-5 5",
  wisp: "M4 5h16v11h-6l-4 4v-4H4zM8.5 10.5v.1M12 10.5v.1M15.5 10.5v.1",
  box: "M4 8l8-4 8 4v8l-8 4-8-4zM4 8l8 4 8-4M12 12v8",
  plane: "M3 13l18-8-5 15-4-6.5zM12 13.5",
  bag: "M5 8h14l-1 12H6zM9 8V7a3 3 0 0 1 6 0v1",
  off: "M3 3l18 18M5 10a10 10 0 0 1 4-2.5M19 10a10 10 0 0 0-6-2.9M8.5 13.5a5 5 0 0 1 2.5-1.3M12 18v.1",
  drag: "M9 6v.1M9 12v.1M9 18v.1M15 6v.1M15 12v.1M15 18v.1",
} as const;

export type IconName = keyof typeof paths;

// An icon never carries meaning alone, so it is hidden from assistive technology.
export function Icon({ name, size = 16 }: { name: IconName; size?: 12 | 14 | 16 | 20 | 24 }) {
  return (
    <svg className="icon" width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.75" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}
