/** MaskConver panoptic segmentation in the browser. */
export type { Category, InputType, Level, ModelCard, Size, Triple } from "./card.js";
export { MaskConverError } from "./errors.js";
export type { Progress } from "./fetch_model.js";
export type { Segment } from "./panoptic.js";
export type { Timings } from "./pipeline.js";
export { type CocoAnnotation, type OverlayOptions, PanopticResult } from "./result.js";
export {
  type Backend,
  findGpu,
  type Got,
  type GpuInfo,
  hasRelaxedSimd,
  type Output,
  type Outputs,
  type RuntimeName,
} from "./runtime.js";
export { type ImageInput, type LoadOptions, Segmenter, type SegmentOptions } from "./segmenter.js";
