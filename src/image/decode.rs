//! The bytes of a picture's file → 8-bit RGB.
//!
//! In: PNG, JPEG, WebP, GIF or BMP bytes from anywhere. Out: an [`RgbImage`] turned as its
//! EXIF orientation asks. The size is checked before pixels are decoded. Alpha is dropped,
//! not composited; of 16 bits the high 8 are kept; grey becomes three equal channels; of an
//! animation the first frame is taken: all as PIL's `convert("RGB")`.
//!
//! Decoding is one call that cannot be interrupted: in a worker nothing could tell it to stop.
//! [`MAX_MEGAPIXELS`] bounds how long it takes.

mod png;

use super::RgbImage;
use crate::error::{Error, Result};
use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use std::io::Cursor;

/// Pictures with more pixels are refused, in millions. Wasm memory never shrinks, and the worker
/// hears nothing while it decodes.
pub const MAX_MEGAPIXELS: u32 = if cfg!(target_family = "wasm") { 50 } else { 100 };
/// Pictures with a longer side, in pixels, are refused.
pub const MAX_SIDE: u32 = 65_535;

/// Most bytes a decoder may hold: that many pixels of RGBA and as much again for itself, which
/// is 400 MB in a browser.
const MAX_DECODER_BYTES: u64 = MAX_MEGAPIXELS as u64 * 1_000_000 * 8;

/// Decodes a picture as a person sees it.
///
/// # Errors
/// [`Error::PictureEmpty`] for no bytes, [`Error::PictureTooLarge`] for more than
/// [`MAX_MEGAPIXELS`] or a side beyond [`MAX_SIDE`], and [`Error::PictureUndecodable`] for
/// everything that is not a whole picture in a supported format.
pub fn decode(bytes: &[u8]) -> Result<RgbImage> {
    if bytes.is_empty() {
        return Err(Error::PictureEmpty);
    }
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(undecodable)?;
    match reader.format() {
        Some(ImageFormat::Png) => {
            let (rgb, exif) = png::decode(bytes)?;
            return Ok(turned(rgb, orientation(&exif.unwrap_or_default())));
        }
        Some(ImageFormat::WebP | ImageFormat::Gif | ImageFormat::Bmp) => {}
        // The decoder would fill the missing part with grey.
        Some(ImageFormat::Jpeg) if is_cut_short(bytes) => {
            return Err(undecodable("the file ends in the middle"));
        }
        Some(ImageFormat::Jpeg) => {}
        Some(other) => {
            return Err(undecodable(format!("it looks like {other:?}").to_lowercase()));
        }
        None if bytes.get(4..8) == Some(b"ftyp") => {
            return Err(undecodable("it looks like HEIC or a video"));
        }
        None => return Err(undecodable("the format is unknown")),
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    let orientation = orientation(&decoder.exif_metadata().ok().flatten().unwrap_or_default());
    let picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    Ok(turned(to_rgb8(picture)?, orientation))
}

fn undecodable(reason: impl ToString) -> Error {
    Error::PictureUndecodable { reason: reason.to_string() }
}

/// How the picture has to be turned. A broken EXIF block is no reason to refuse a picture.
fn orientation(exif: &[u8]) -> Orientation {
    // Some programs write JPEG's prefix of the block into PNG and WebP files, too.
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms)
}

fn turned(rgb: RgbImage, orientation: Orientation) -> RgbImage {
    if orientation == Orientation::NoTransforms {
        return rgb;
    }
    let mut picture = DynamicImage::ImageRgb8(rgb);
    picture.apply_orientation(orientation);
    picture.into_rgb8()
}

fn check_size(width: u32, height: u32) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(undecodable("it has no pixels"));
    }
    let most = u64::from(MAX_MEGAPIXELS) * 1_000_000;
    if u64::from(width) * u64::from(height) > most || width.max(height) > MAX_SIDE {
        return Err(Error::PictureTooLarge { width, height, limit_megapixels: MAX_MEGAPIXELS });
    }
    Ok(())
}

/// What the decoders give beside PNG's to RGB8. Alpha is removed in place: of a large picture a
/// copy would count.
fn to_rgb8(picture: DynamicImage) -> Result<RgbImage> {
    let (width, height) = (picture.width(), picture.height());
    let data = match picture {
        DynamicImage::ImageRgb8(rgb) => return Ok(rgb),
        DynamicImage::ImageLuma8(grey) => {
            let mut data = Vec::with_capacity(3 * grey.len());
            data.extend(grey.iter().flat_map(|&v| [v; 3]));
            data
        }
        DynamicImage::ImageRgba8(rgba) => {
            let mut data = rgba.into_raw();
            let pixels = data.len() / 4;
            for i in 1..pixels {
                data.copy_within(4 * i..4 * i + 3, 3 * i);
            }
            data.truncate(3 * pixels);
            data.shrink_to_fit();
            data
        }
        other => return Ok(other.into_rgb8()),
    };
    RgbImage::from_raw(width, height, data)
        .ok_or_else(|| undecodable("it has fewer pixels than it says"))
}

/// Whether a JPEG file has begun its scan and has no end-of-image marker after it. Segments
/// before the scan are skipped, because a thumbnail in them has a marker of its own.
fn is_cut_short(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xFF, marker]) = bytes.get(at..at + 2) {
        match marker {
            0xFF => at += 1, // padding
            0xDA => return !bytes[at..].windows(2).any(|pair| pair == [0xFF, 0xD9]),
            0x01 | 0xD0..=0xD9 => at += 2, // markers without a length
            _ => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else {
                    return true;
                };
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
    at >= bytes.len() // otherwise it is malformed, which the decoder will say better
}

#[cfg(test)]
mod tests;
