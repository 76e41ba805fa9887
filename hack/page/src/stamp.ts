// The test card's clock for machines: a row of black and white cells at the
// bottom of the picture, which survives any codec. It holds the milliseconds of
// the publisher's clock and a check, so that a watcher knows how old a picture
// is, as long as both clocks agree.

/** Cells in the row: 24 of time, 8 of check, the highest bit first. */
export const cells = 32;
/** Height of the row as a part of the picture's. */
export const height = 1 / 24;

const timeBits = 24;
const period = 2 ** timeBits; // 4.7 hours

function check(time: number): number {
  return (time ^ (time >> 8) ^ (time >> 16) ^ 0xa5) & 0xff;
}

/** Returns whether each cell is white. */
export function encode(milliseconds: number): boolean[] {
  const time = Math.floor(milliseconds) % period;
  const bits: boolean[] = [];
  for (let i = timeBits - 1; i >= 0; i--) bits.push(((time >> i) & 1) === 1);
  for (let i = 7; i >= 0; i--) bits.push(((check(time) >> i) & 1) === 1);
  return bits;
}

/** Reads the brightness of each cell, 0 to 255; returns the age of the picture, or undefined if it has no clock. */
export function decode(brightness: number[], now: number): number | undefined {
  if (brightness.length !== cells || brightness.some((b) => b > 80 && b < 175)) return undefined;
  let time = 0;
  let sum = 0;
  brightness.forEach((b, i) => {
    const bit = b > 128 ? 1 : 0;
    if (i < timeBits) time = time * 2 + bit;
    else sum = sum * 2 + bit;
  });
  if (sum !== check(time)) return undefined;
  const age = (Math.floor(now) % period) - time;
  if (age < -period / 2) return age + period;
  return age > period / 2 ? age - period : age;
}

/** Reads the age of the picture on a canvas. */
export class Reader {
  readonly #row = document.createElement("canvas");
  readonly #context: CanvasRenderingContext2D | null;

  constructor() {
    this.#row.width = cells * 3;
    this.#row.height = 1;
    this.#context = this.#row.getContext("2d", { willReadFrequently: true });
  }

  /** Returns the age in milliseconds, or undefined if the picture has no clock. */
  age(picture: HTMLCanvasElement): number | undefined {
    if (!this.#context || picture.width === 0 || picture.height === 0) return undefined;
    const now = Date.now();
    const y = picture.height * (1 - height / 2);
    this.#context.drawImage(picture, 0, y, picture.width, 1, 0, 0, cells * 3, 1);
    const pixels = this.#context.getImageData(0, 0, cells * 3, 1).data;
    const brightness: number[] = [];
    for (let i = 0; i < cells; i++) {
      const middle = (i * 3 + 1) * 4;
      brightness.push((pixels[middle]! + pixels[middle + 1]! + pixels[middle + 2]!) / 3);
    }
    return decode(brightness, now);
  }
}
