//! The three towers and the model that joins them, one file each, as the reference reads.

pub mod instructblip;
pub mod qformer;
pub mod t5;
pub mod vit;

pub use instructblip::InstructBlip;
