// Draws the test card, in a worker: a page in the background draws no pictures,
// and people publish in one tab and watch in another.

import { draw, fps, height, width } from "./testcard.draw";

/** What the page sends to begin. */
export interface Begin {
  label: string;
  frames: WritableStream<VideoFrame>;
}

addEventListener("message", (event: MessageEvent<Begin>) => {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { alpha: false });
  if (!context) return;
  const writer = event.data.frames.getWriter();
  const began = performance.now();
  let count = 0;
  let busy = false;
  const next = () => {
    const due = began + ++count * (1000 / fps);
    setTimeout(next, Math.max(0, due - performance.now()));
    if (busy) return; // the encoder does not keep up: leave one out
    draw(context, Date.now(), event.data.label);
    busy = true;
    writer.write(new VideoFrame(canvas, { timestamp: Math.round((performance.now() - began) * 1000) })).then(
      () => {
        busy = false;
      },
      () => close(),
    );
  };
  next();
});
