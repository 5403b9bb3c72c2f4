//! PNG files, row by row.
//!
//! In: the bytes of a PNG file. Out: its picture in RGB and its EXIF block. Rows become 8-bit
//! RGB as they come, so that no picture is held in 16 bits or with its alpha. Profiles and texts,
//! which a small file can make hundreds of megabytes of, are passed over.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, InterlaceInfo, Limits, Transformations};

use super::{check_size, undecodable};
use crate::error::Result;
use crate::image::RgbImage;

/// Most bytes for everything beside the pixels: the EXIF block, the palette, chunks in the making.
const MAX_EXTRA_BYTES: usize = 64 << 20;

/// Decodes the picture, or an animation's still one; `None` for a file without EXIF.
pub(super) fn decode(bytes: &[u8]) -> Result<(RgbImage, Option<Vec<u8>>)> {
    let limits = Limits { bytes: MAX_EXTRA_BYTES };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_ignore_text_chunk(true);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let (width, height) = decoder.read_header_info().map_err(undecodable)?.size();
    check_size(width, height)?;
    let mut reader = decoder.read_info().map_err(undecodable)?;
    let channels = match reader.output_color_type() {
        (ColorType::Grayscale, BitDepth::Eight) => 1,
        (ColorType::GrayscaleAlpha, BitDepth::Eight) => 2,
        (ColorType::Rgb, BitDepth::Eight) => 3,
        (ColorType::Rgba, BitDepth::Eight) => 4,
        other => return Err(undecodable(format!("its pixels are {other:?}"))),
    };
    let frame = reader.info().frame_control.as_ref();
    if frame.is_some_and(|frame| (frame.width, frame.height) != (width, height)) {
        return Err(undecodable("its first frame is not the whole picture"));
    }
    let exif = reader.info().exif_metadata.as_ref().map(|exif| exif.to_vec());

    let stride = 3 * width as usize;
    let mut rgb = vec![0; stride * height as usize];
    let (mut line, mut start) = (Vec::with_capacity(stride), 0);
    while let Some(row) = reader.next_interlaced_row().map_err(undecodable)? {
        match row.interlace() {
            InterlaceInfo::Null(_) => {
                let pixels = rgb.get_mut(start..start + stride);
                let pixels = pixels.ok_or_else(|| undecodable("it has too many rows"))?;
                to_rgb(row.data(), channels, pixels);
                start += stride;
            }
            InterlaceInfo::Adam7(pass) => {
                line.resize(row.data().len() / channels * 3, 0);
                to_rgb(row.data(), channels, &mut line);
                png::expand_interlaced_row(&mut rgb, stride, &line, pass, 24);
            }
        }
    }
    let picture = RgbImage::from_raw(width, height, rgb);
    Ok((picture.ok_or_else(|| undecodable("it has fewer pixels than it says"))?, exif))
}

/// A row of 8-bit grey or RGB, with alpha or without, to RGB.
fn to_rgb(row: &[u8], channels: usize, rgb: &mut [u8]) {
    let pixels = rgb.as_chunks_mut::<3>().0.iter_mut().zip(row.chunks_exact(channels));
    match channels {
        3 => rgb.copy_from_slice(row),
        4 => pixels.for_each(|(rgb, pixel)| rgb.copy_from_slice(&pixel[..3])),
        _ => pixels.for_each(|(rgb, pixel)| rgb.fill(pixel[0])),
    }
}
