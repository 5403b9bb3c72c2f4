//! Where the model looked: the Q-Former's attention to the picture for a question.
//!
//! The queries look at the picture in some of the Q-Former's layers, steered by the instruction.
//! What each of them attends to, averaged over heads, is `cross_attentions` of the reference with
//! `output_attentions=True`. It is computed when asked for, by a kernel of its own.
//!
//! The map is the last such layer's: there, the queries have read the question. On the pocket
//! model its peak lies on what was asked about more often than the mean's over all layers, and
//! much more often than the first layer's (`tools/pocket/looked.py`).

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::Session;
use crate::error::Result;
use crate::pace::Pace;
use crate::readback;

/// What to compare with, and how to look.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AttentionOptions {
    /// Another question, see [`AttentionMaps::difference`].
    pub against: Option<String>,
    /// See [`AskOptions::instruction_aware`](super::AskOptions::instruction_aware). Without it,
    /// the map is the same for every question.
    pub instruction_aware: Option<bool>,
}

/// Maps over all current pictures.
#[derive(Clone, Debug, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct AttentionMaps {
    /// Patches along a side; a map has `side * side` values, row by row from the top left.
    pub side: usize,
    /// One entry a picture.
    pub pictures: Vec<PictureMap>,
    /// The same for this question less the same for the other, where there is one: above zero
    /// where this question made the model look more.
    pub difference: Option<Vec<PictureMap>>,
}

/// Where the queries look in one picture. All values are probabilities, or their differences.
#[derive(Clone, Debug, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(rename = "AttentionMap")]
pub struct PictureMap {
    /// Mean over queries, in the last layer that looks at the picture. With `class_share` it sums
    /// to 1.
    pub average: Vec<f32>,
    /// The same layer for each query.
    pub queries: Vec<Vec<f32>>,
    /// The part of the attention that went to the class token, which has no place.
    pub class_share: f32,
    /// All layers that look at the picture, in order.
    pub layers: Vec<LayerMap>,
}

/// Where the queries look in one layer.
#[derive(Clone, Debug, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct LayerMap {
    /// The Q-Former's layer.
    pub layer: usize,
    /// Mean over queries.
    pub average: Vec<f32>,
    /// As [`PictureMap::class_share`].
    pub class_share: f32,
}

impl Session {
    /// Where the model looks for a question; with `options.against` also how that differs from
    /// another question, which is always read. In BLIP-2, whose Q-Former does not read the question, nothing differs.
    ///
    /// # Errors
    /// There is no picture, a question is empty, it was cancelled, or the GPU failed.
    pub async fn attention(
        &self,
        question: &str,
        options: &AttentionOptions,
        pace: &Pace,
    ) -> Result<AttentionMaps> {
        self.require_picture()?;
        let pictures = self.maps(question, options.instruction_aware, pace).await?;
        let difference = match &options.against {
            Some(other) => {
                let others = self.maps(other, None, pace).await?;
                Some(pictures.iter().zip(&others).map(|(a, b)| a.less(b)).collect())
            }
            None => None,
        };
        let side = self.config().vision_config.grid().side;
        Ok(AttentionMaps { side, pictures, difference })
    }

    async fn maps(
        &self,
        question: &str,
        aware: Option<bool>,
        pace: &Pace,
    ) -> Result<Vec<PictureMap>> {
        let ids = self.instruction(self.tokenizers().encode(question)?.qformer, aware)?.0;
        let layers = self.config().bridge_config.looking_layers();
        let mut pictures = Vec::with_capacity(self.pictures.len());
        let model = self.model()?;
        self.keep_features(pace).await?;
        for picture in &self.pictures {
            let maps = model.maps(picture.features()?, &ids, pace).await?;
            let mut values = Vec::with_capacity(maps.len());
            for map in &maps {
                values.push(readback::floats(map).await?);
            }
            let tokens = self.config().vision_config.grid().tokens();
            pictures.push(PictureMap::new(&layers, &values, tokens));
        }
        Ok(pictures)
    }
}

impl PictureMap {
    /// From `[queries, tokens]` for each of `layers`; token 0 is the class token.
    fn new(layers: &[usize], values: &[Vec<f32>], tokens: usize) -> Self {
        let layers: Vec<LayerMap> = layers
            .iter()
            .zip(values)
            .map(|(&layer, values)| {
                let rows = values.len() / tokens;
                let mean = |token: usize| {
                    values.iter().skip(token).step_by(tokens).sum::<f32>() / rows as f32
                };
                LayerMap { layer, class_share: mean(0), average: (1..tokens).map(mean).collect() }
            })
            .collect();
        let rows = values.last().map_or(&[][..], Vec::as_slice).chunks_exact(tokens);
        Self {
            average: layers.last().map_or_else(Vec::new, |last| last.average.clone()),
            queries: rows.map(|row| row[1..].to_vec()).collect(),
            class_share: layers.last().map_or(0.0, |last| last.class_share),
            layers,
        }
    }

    fn less(&self, other: &Self) -> Self {
        let less =
            |a: &[f32], b: &[f32]| -> Vec<f32> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
        Self {
            average: less(&self.average, &other.average),
            queries: self.queries.iter().zip(&other.queries).map(|(a, b)| less(a, b)).collect(),
            class_share: self.class_share - other.class_share,
            layers: self
                .layers
                .iter()
                .zip(&other.layers)
                .map(|(a, b)| LayerMap {
                    layer: a.layer,
                    average: less(&a.average, &b.average),
                    class_share: a.class_share - b.class_share,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two layers, two queries, a class token and two patches.
    fn map() -> PictureMap {
        let first = vec![0.5, 0.25, 0.25, 0.0, 0.5, 0.5];
        let last = vec![0.25, 0.75, 0.0, 0.75, 0.0, 0.25];
        PictureMap::new(&[0, 2], &[first, last], 3)
    }

    #[test]
    fn the_map_is_the_last_layer_s() {
        let map = map();
        assert_eq!((&map.average[..], map.class_share), (&[0.375, 0.125][..], 0.5));
        assert_eq!(map.queries, [[0.75, 0.0], [0.0, 0.25]]);
        let layers: Vec<_> =
            map.layers.iter().map(|l| (l.layer, &l.average[..], l.class_share)).collect();
        assert_eq!(layers, [(0, &[0.375, 0.375][..], 0.25), (2, &[0.375, 0.125][..], 0.5)]);
        for layer in &map.layers {
            assert_eq!(layer.average.iter().sum::<f32>() + layer.class_share, 1.0);
        }
        let nothing = PictureMap::new(&[], &[], 3);
        assert!(nothing.average.is_empty() && nothing.queries.is_empty());
    }

    #[test]
    fn a_map_less_itself_is_nowhere() {
        let less = map().less(&map());
        let all = [&less.average[..], &less.queries.concat(), &less.layers[0].average].concat();
        assert!(all.iter().chain([&less.class_share]).all(|value| *value == 0.0), "{less:?}");
        let other = PictureMap::new(&[2], &[vec![0.0, 1.0, 0.0, 0.0, 1.0, 0.0]], 3);
        assert_eq!(other.less(&map()).average, [1.0 - 0.375, -0.125]);
    }
}
