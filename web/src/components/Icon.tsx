// The signs of buttons, drawn on a grid of 16.

const paths = {
  plus: "M8 3v10M3 8h10",
  play: "M5 3.5v9l7.5-4.5z",
  stop: "M4.5 4.5h7v7h-7z",
  restart: "M12.5 8a4.5 4.5 0 1 1-1.4-3.3M12.8 2.5v2.7h-2.7",
  all: "M3 3.5v9l5-4.5zM8.5 3.5v9l5-4.5z",
  up: "M8 12.5v-9M4.5 7 8 3.5 11.5 7",
  down: "M8 3.5v9M4.5 9 8 12.5 11.5 9",
  trash: "M3.5 4.5h9M6.5 4.5v-1h3v1M4.8 4.5l.6 8.5h5.2l.6-8.5",
  more: "M4 8h.01M8 8h.01M12 8h.01",
  comment: "M3 3.5h10v7H8l-3 2.5v-2.5H3z",
  outline: "M3 4h10M5 8h8M5 12h8",
  variables: "M3 3.5h10v9H3zM3 6.5h10M6.5 6.5v6",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.3 10.3 13.5 13.5",
  close: "M4 4l8 8M12 4l-8 8",
  grip: "M6 4h.01M10 4h.01M6 8h.01M10 8h.01M6 12h.01M10 12h.01",
  right: "M6 3.5 10.5 8 6 12.5",
  keys: "M2.5 4.5h11v7h-11zM5 7h.01M8 7h.01M11 7h.01M5.5 9.5h5",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name }: { name: IconName }) {
  const dots = name === "more" || name === "grip";
  const solid = name === "play" || name === "stop" || name === "all";
  return (
    <svg class={dots ? "e-icon e-dots" : solid ? "e-icon e-solid" : "e-icon"} viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}
