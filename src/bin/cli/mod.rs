//! The subcommands, one file each.

pub mod ask;
pub mod attention;
pub mod bench;
pub mod check;
pub mod convert;
pub mod eval;
pub mod export;
pub mod generation;
pub mod inspect;
pub mod load;
pub mod progress;
pub mod synth;
pub mod terminal;
pub mod verify;
