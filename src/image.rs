//! Picture bytes → [`RgbImage`] → `pixel_values`.
//!
//! Two steps, so that the page can show what was decoded: [`decode()`] takes the bytes of a
//! PNG, JPEG, WebP, GIF or BMP file to 8-bit RGB as a person sees it; [`preprocess`] takes
//! that to the model's `[3, height, width]` floats. The second step equals the reference's
//! processors bit for bit: PIL's antialiased resize with its fixed-point arithmetic and a centre
//! crop where there is one ([`resize()`]), then `(u8 * rescale_factor - mean) / std` with the
//! roundings of numpy ([`preprocess`]).

mod decode;
mod resize;

pub use ::image::RgbImage;
pub use decode::{MAX_MEGAPIXELS, MAX_SIDE, decode};
pub use resize::resize;

use crate::config::{PictureSize, PreprocessorConfig};

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

/// Resizes and cuts as configured, and normalises.
#[must_use]
pub fn preprocess(rgb: &RgbImage, config: &PreprocessorConfig) -> PixelValues {
    let picture = PictureSize { height: rgb.height() as usize, width: rgb.width() as usize };
    let (to, PictureSize { height, width }) = (config.fit.resized(picture), config.fit.output());
    let resized = resize(rgb, [to.width, to.height], [width, height], config.resample);
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
        #[allow(clippy::cast_possible_truncation)] // the reference's rounding
        let value = (level as f64 * config.rescale_factor.unwrap_or(1.0)) as f32;
        config.normalize.map_or(value, |by| (value - by.mean[channel]) / by.std[channel])
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::config::Fit;
    use crate::config::Resample::{self, Bicubic, Bilinear};

    fn config(height: usize, width: usize) -> PreprocessorConfig {
        let fit = Fit::Squash(PictureSize { height, width });
        PreprocessorConfig { fit, ..PreprocessorConfig::parse(b"{}").unwrap() }
    }

    #[test]
    fn channels_come_first_and_are_normalised() {
        let rgb = RgbImage::from_raw(2, 1, vec![0, 128, 255, 255, 0, 128]).unwrap();
        let got = preprocess(&rgb, &config(1, 2));
        assert_eq!((got.height, got.width, got.data.len()), (1, 2, 6));
        let c = config(1, 2).normalize.unwrap();
        for (i, (level, channel)) in
            [(0, 0), (255, 0), (128, 1), (0, 1), (255, 2), (128, 2)].into_iter().enumerate()
        {
            let want =
                (f64::from(level) / 255.0 - f64::from(c.mean[channel])) / f64::from(c.std[channel]);
            assert!((f64::from(got.data[i]) - want).abs() < 1e-6);
        }
    }

    #[test]
    fn rescaling_and_normalising_can_be_turned_off() {
        let rgb = RgbImage::from_pixel(3, 3, ::image::Rgb([7, 8, 9]));
        let raw = PreprocessorConfig { rescale_factor: None, normalize: None, ..config(2, 2) };
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

    /// Green of `CLIPImageProcessor(size={"shortest_edge": edge}, crop_size=crop, resample=resample,
    /// do_rescale=False, do_normalize=False)` of transformers 4.57.6 with Pillow 13, for a picture
    /// whose byte i is 7 i^2 + 31 i.
    #[test]
    #[rustfmt::skip]
    fn the_middle_is_the_reference_s() {
        type Case = (u32, u32, usize, usize, usize, Resample, &'static [u8]);
        let cases: [Case; 4] = [
            (7, 12, 5, 4, 5, Bicubic, &[
                153, 145, 134, 103, 89, 102, 178, 119, 118, 64, 126, 104, 146, 139, 184, 167, 59, 84, 119, 144]),
            (12, 7, 5, 5, 8, Bicubic, &[
                0, 0, 171, 133, 74, 106, 82, 0, 0, 0, 204, 145, 145, 37, 144, 0, 0, 0, 70, 107, 144, 97, 163, 0,
                0, 0, 156, 169, 40, 81, 130, 0, 0, 0, 164, 142, 152, 92, 131, 0]),
            (9, 6, 4, 7, 3, Bilinear, &[
                0, 0, 0, 113, 126, 144, 158, 139, 136, 90, 64, 181, 135, 94, 145, 104, 145, 94, 153, 187, 50]),
            (3, 8, 6, 4, 5, Bicubic, &[
                68, 201, 216, 114, 110, 37, 166, 225, 215, 199, 37, 110, 163, 196, 196, 68, 42, 40, 59, 100]),
        ];
        for (h, w, edge, height, width, resample, want) in cases {
            let bytes = (0..3 * h * w).map(|i| (7 * i * i + 31 * i) as u8).collect();
            let rgb = RgbImage::from_raw(w, h, bytes).unwrap();
            let fit = Fit::ShortestEdge { edge, crop: PictureSize { height, width } };
            let config =
                PreprocessorConfig { fit, resample, rescale_factor: None, normalize: None };
            let got = preprocess(&rgb, &config);
            let green: Vec<u8> =
                got.data[height * width..][..height * width].iter().map(|v| *v as u8).collect();
            assert_eq!(green, want, "{h} x {w}");
        }
    }

    #[test]
    fn the_sides_of_a_very_long_picture_are_never_made() {
        let rgb = RgbImage::from_pixel(65_535, 1, ::image::Rgb([9; 3]));
        let fit = Fit::ShortestEdge { edge: 2048, crop: PictureSize { height: 4, width: 4 } };
        let config =
            PreprocessorConfig { fit, rescale_factor: None, normalize: None, ..config(1, 1) };
        assert_eq!(preprocess(&rgb, &config).data, [9.0; 48]);
        assert_eq!(preprocess(&RgbImage::new(0, 0), &config).data, [0.0; 48]);
    }
}
