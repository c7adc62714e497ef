/** A color for each segment, the same as the Python package gives it. */
import type { Category, Triple } from "./card.js";
import { roundHalfEven } from "./letterbox.js";
import type { Segment } from "./panoptic.js";

/** RGB by segment id: the category's color for its lowest id, and variations of it for the others. */
export function segmentColors(segments: readonly Segment[], categories: readonly Category[]): Map<number, Triple> {
  const bases = new Map(categories.map((category) => [category.id, category.color]));
  const seen = new Map<number, number>();
  return new Map(
    [...segments]
      .sort((a, b) => a.id - b.id)
      .map(({ id, categoryId }) => {
        const step = seen.get(categoryId) ?? 0;
        seen.set(categoryId, step + 1);
        return [id, vary(bases.get(categoryId) ?? colorOf(categoryId), step)];
      }),
  );
}

/** A color for a number; neighbors differ, since steps of the golden ratio never come close to an earlier hue soon. */
function colorOf(number: number): Triple {
  const hue = (number * 0.618033988749895) % 1;
  const saturation = [0.9, 0.55, 0.75][number % 3] as number;
  const value = [0.95, 0.9, 0.65][Math.floor(number / 3) % 3] as number;
  const channel = (offset: number) => {
    const k = (offset + hue * 6) % 6;
    return roundHalfEven(255 * value * (1 - saturation * Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return [channel(5), channel(3), channel(1)];
}

/** Hue and lightness swing ever further from the color's own: 0, +1, -1, +2, ... */
function vary(color: Triple, step: number): Triple {
  if (step === 0) return color;
  const swing = Math.floor((step + 1) / 2) * (step % 2 === 1 ? 1 : -1);
  const [hue, lightness, saturation] = toHls(color);
  return fromHls(
    modulo(hue + 0.05 * swing, 1),
    0.25 + modulo(lightness - 0.25 + 0.17 * swing, 0.55),
    Math.max(saturation, 0.3),
  );
}

function toHls(color: Triple): Triple {
  const [red, green, blue] = color.map((value) => value / 255) as [number, number, number];
  const [high, low] = [Math.max(red, green, blue), Math.min(red, green, blue)];
  const range = high - low;
  const lightness = (high + low) / 2;
  if (range === 0) return [0, lightness, 0];
  const saturation = lightness <= 0.5 ? range / (high + low) : range / (2 - high - low);
  const turn =
    red === high ? (green - blue) / range : green === high ? 2 + (blue - red) / range : 4 + (red - green) / range;
  return [modulo(turn / 6, 1), lightness, saturation];
}

function fromHls(hue: number, lightness: number, saturation: number): Triple {
  const high = lightness <= 0.5 ? lightness * (1 + saturation) : lightness + saturation - lightness * saturation;
  const low = 2 * lightness - high;
  const channel = (turn: number) => {
    const place = modulo(turn, 1);
    const share = place < 1 / 6 ? place * 6 : place < 0.5 ? 1 : place < 2 / 3 ? (2 / 3 - place) * 6 : 0;
    return roundHalfEven(255 * (low + (high - low) * share));
  };
  return [channel(hue + 1 / 3), channel(hue), channel(hue - 1 / 3)];
}

function modulo(value: number, base: number): number {
  return ((value % base) + base) % base;
}
