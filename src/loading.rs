//! How a shard set arrives, as far as no browser is needed to say it: what it consists of and in
//! which order it is fetched, how far it has come, and how its readers take turns. The page's
//! loader (`web`) adds the network, the storage and the GPU.

pub mod manifest;
pub mod progress;
pub mod slot;
pub mod together;
