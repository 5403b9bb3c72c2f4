//! Picture bytes → [`RgbImage`] → `pixel_values`.
//!
//! Two steps, so that the page can show what was decoded: [`decode()`] takes the bytes of a
//! PNG, JPEG, WebP, GIF or BMP file to 8-bit RGB as a person sees it; [`preprocess`] takes
//! that to the model's `[3, height, width]` floats. The second step equals the reference's
//! `BlipImageProcessor` bit for bit: PIL's antialiased bicubic resize with its fixed-point
//! arithmetic ([`resize`]), then `(u8 * rescale_factor - mean) / std` with the roundings of
//! numpy ([`preprocess`]).

mod decode;
mod resize;

pub use ::image::RgbImage;
pub use decode::{MAX_MEGAPIXELS, MAX_SIDE, decode};
pub use resize::resize;

use crate::config::PreprocessorConfig;

/// What the vision tower reads: `data` is `[3, height, width]`, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelValues {
    /// Red, green and blue planes, one after another.
    pub data: Vec<f32>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl PixelValues {
    /// A square picture of zeros, for runs that look at no values.
    #[must_use]
    pub fn blank(side: usize) -> Self {
        Self { data: vec![0.0; 3 * side * side], height: side, width: side }
    }
}

/// Resizes to the configured size and normalises.
#[must_use]
pub fn preprocess(rgb: &RgbImage, config: &PreprocessorConfig) -> PixelValues {
    let (height, width) = (config.size.height, config.size.width);
    let resized = resize(rgb, width, height);
    let mut data = Vec::with_capacity(3 * height * width);
    for channel in 0..3 {
        let levels = levels(config, channel);
        data.extend(resized[channel..].iter().step_by(3).map(|&u| levels[usize::from(u)]));
    }
    PixelValues { data, height, width }
}

/// The value of each 8-bit level in one channel. The reference multiplies in f64, rounds to
/// f32, and normalises in f32.
fn levels(config: &PreprocessorConfig, channel: usize) -> [f32; 256] {
    std::array::from_fn(|level| {
        let level = level as f64;
        #[allow(clippy::cast_possible_truncation)] // the reference's rounding
        let value =
            if config.do_rescale { (level * config.rescale_factor) as f32 } else { level as f32 };
        if config.do_normalize {
            (value - config.image_mean[channel]) / config.image_std[channel]
        } else {
            value
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::config::PictureSize;

    fn config(height: usize, width: usize) -> PreprocessorConfig {
        PreprocessorConfig { size: PictureSize { height, width }, ..Default::default() }
    }

    #[test]
    fn channels_come_first_and_are_normalised() {
        let rgb = RgbImage::from_raw(2, 1, vec![0, 128, 255, 255, 0, 128]).unwrap();
        let got = preprocess(&rgb, &config(1, 2));
        assert_eq!((got.height, got.width, got.data.len()), (1, 2, 6));
        let c = PreprocessorConfig::default();
        for (i, (level, channel)) in
            [(0, 0), (255, 0), (128, 1), (0, 1), (255, 2), (128, 2)].into_iter().enumerate()
        {
            let want = (f64::from(level) / 255.0 - f64::from(c.image_mean[channel]))
                / f64::from(c.image_std[channel]);
            assert!((f64::from(got.data[i]) - want).abs() < 1e-6);
        }
    }

    #[test]
    fn rescaling_and_normalising_can_be_turned_off() {
        let rgb = RgbImage::from_pixel(3, 3, ::image::Rgb([7, 8, 9]));
        let raw = PreprocessorConfig { do_rescale: false, do_normalize: false, ..config(2, 2) };
        assert_eq!(preprocess(&rgb, &raw).data, [7., 7., 7., 7., 8., 8., 8., 8., 9., 9., 9., 9.]);
    }

    #[test]
    fn one_pixel_becomes_a_plain_picture() {
        let rgb = RgbImage::from_pixel(1, 1, ::image::Rgb([200, 100, 50]));
        let got = preprocess(&rgb, &config(14, 28));
        assert_eq!(got.data.len(), 3 * 14 * 28);
        for plane in got.data.chunks(14 * 28) {
            assert!(plane.iter().all(|v| v.to_bits() == plane[0].to_bits()));
        }
    }
}
