// The picture of the test card.

import * as stamp from "./stamp";

/** Multiples of 16, which codecs want, and 16:9. */
export const width = 1024;
export const height = 576;
export const fps = 25;

/** The colours of the bars, from left to right. */
export const bars = ["#c8c8c8", "#c8c800", "#00c8c8", "#00c800", "#c800c8", "#c80000", "#0000c8"] as const;
/** Where the bars end, from the top. */
export const barsHeight = 300;

type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

const font = (size: number, weight = 600) => `${weight} ${size}px ui-sans-serif, system-ui, "Segoe UI", "DejaVu Sans", sans-serif`;

/** Draws the card as it is at a time of the wall clock. */
export function draw(c: Context, now: number, label: string): void {
  c.fillStyle = "#10151d";
  c.fillRect(0, 0, width, height);
  const bar = width / bars.length;
  bars.forEach((colour, i) => {
    c.fillStyle = colour;
    c.fillRect(Math.round(i * bar), 0, Math.ceil(bar), barsHeight);
  });
  ramp(c);
  clock(c, now, label);
  sweep(c, now);
  strip(c, now);
}

/** Shades of grey below the bars. */
function ramp(c: Context): void {
  const steps = 16;
  for (let i = 0; i < steps; i++) {
    const grey = Math.round((i * 255) / (steps - 1));
    c.fillStyle = `rgb(${grey} ${grey} ${grey})`;
    c.fillRect((i * width) / steps, barsHeight, width / steps, 36);
  }
}

/** The time, and who publishes. */
function clock(c: Context, now: number, label: string): void {
  const time = new Date(now);
  const two = (n: number) => String(n).padStart(2, "0");
  c.textBaseline = "alphabetic";
  c.textAlign = "left";
  c.fillStyle = "#ffffff";
  c.font = font(76, 700);
  const seconds = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  c.fillText(seconds, 44, 438);
  const end = 44 + c.measureText(seconds.replace(/\d/g, "0")).width;
  c.fillStyle = "#6aa9ff";
  c.font = font(44, 700);
  c.fillText(`.${String(time.getMilliseconds()).padStart(3, "0")}`, end + 4, 438);
  c.fillStyle = "#9aa7b8";
  c.font = font(28, 500);
  c.fillText(label, 46, 492, 600);
  c.textAlign = "right";
  c.fillStyle = "#ffffff";
  c.font = font(34, 700);
  c.fillText("moqrelay", width - 190, 430);
  c.fillStyle = "#9aa7b8";
  c.font = font(24, 500);
  c.fillText("test card", width - 190, 464);
}

/** A hand that turns once in two seconds, and a ball that goes to and fro over the bars. */
function sweep(c: Context, now: number): void {
  const x = width - 108;
  const y = 440;
  const turn = ((now % 2000) / 2000) * 2 * Math.PI - Math.PI / 2;
  c.lineWidth = 8;
  c.strokeStyle = "#2b3544";
  c.beginPath();
  c.arc(x, y, 56, 0, 2 * Math.PI);
  c.stroke();
  c.strokeStyle = now % 1000 < 120 ? "#ffffff" : "#6aa9ff"; // flashes with the beep
  c.lineCap = "round";
  c.beginPath();
  c.moveTo(x, y);
  c.lineTo(x + 44 * Math.cos(turn), y + 44 * Math.sin(turn));
  c.stroke();
  const phase = (now % 4000) / 4000;
  const along = phase < 0.5 ? phase * 2 : 2 - phase * 2;
  c.fillStyle = "#ffffff";
  c.beginPath();
  c.arc(40 + along * (width - 80), barsHeight - 40, 24, 0, 2 * Math.PI);
  c.fill();
}

/** The clock for machines. */
function strip(c: Context, now: number): void {
  const cell = width / stamp.cells;
  const top = height * (1 - stamp.height);
  stamp.encode(now).forEach((white, i) => {
    c.fillStyle = white ? "#ffffff" : "#000000";
    c.fillRect(i * cell, top, cell, height - top);
  });
}
