//! The bytes of a picture's file → 8-bit RGB.
//!
//! In: PNG, JPEG, WebP, GIF or BMP bytes from anywhere. Out: an [`RgbImage`] turned as its
//! EXIF orientation asks. The size is checked before pixels are decoded. Alpha is dropped,
//! not composited; of 16 bits the high 8 are kept; grey becomes three equal channels; of an
//! animation the first frame is taken: all as PIL's `convert("RGB")`.

use super::RgbImage;
use crate::error::{Error, Result};
use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use std::io::Cursor;

/// Pictures with more pixels are refused, in millions.
pub const MAX_MEGAPIXELS: u32 = 100;
/// Pictures with a longer side, in pixels, are refused.
pub const MAX_SIDE: u32 = 65_535;

/// Most bytes a decoder may hold: 100 megapixels of 16-bit RGBA, and room for its tables.
const MAX_DECODER_BYTES: u64 = MAX_MEGAPIXELS as u64 * 1_000_000 * 8 + (64 << 20);

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
        // The decoder would call a huge header a lack of memory.
        Some(ImageFormat::Png) => {
            if let Some(&[b'I', b'H', b'D', b'R', w0, w1, w2, w3, h0, h1, h2, h3]) =
                bytes.get(12..24)
            {
                check_size(
                    u32::from_be_bytes([w0, w1, w2, w3]),
                    u32::from_be_bytes([h0, h1, h2, h3]),
                )?;
            }
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
    let orientation = orientation(&mut decoder);
    let picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    let rgb = to_rgb8(picture)?;
    if orientation == Orientation::NoTransforms {
        return Ok(rgb);
    }
    let mut turned = DynamicImage::ImageRgb8(rgb);
    turned.apply_orientation(orientation);
    Ok(turned.into_rgb8())
}

fn undecodable(reason: impl ToString) -> Error {
    Error::PictureUndecodable { reason: reason.to_string() }
}

/// How the picture has to be turned. A broken EXIF block is no reason to refuse a picture.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    let exif = decoder.exif_metadata().ok().flatten().unwrap_or_default();
    // Some programs write JPEG's prefix of the block into PNG and WebP files, too.
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(&exif);
    Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms)
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

/// Any colour type to RGB8. Alpha is removed in place: at 100 megapixels a copy would count.
fn to_rgb8(picture: DynamicImage) -> Result<RgbImage> {
    let (width, height) = (picture.width(), picture.height());
    let data = match picture {
        DynamicImage::ImageRgb8(rgb) => return Ok(rgb),
        DynamicImage::ImageLuma8(grey) => spread(&grey.into_raw(), 1, |&v| v),
        DynamicImage::ImageLumaA8(grey) => spread(&grey.into_raw(), 2, |&v| v),
        DynamicImage::ImageLuma16(grey) => spread(&grey.into_raw(), 1, high_byte),
        DynamicImage::ImageLumaA16(grey) => spread(&grey.into_raw(), 2, high_byte),
        DynamicImage::ImageRgba8(rgba) => {
            let mut data = rgba.into_raw();
            let pixels = data.len() / 4;
            for i in 1..pixels {
                data.copy_within(4 * i..4 * i + 3, 3 * i);
            }
            data.truncate(3 * pixels);
            data
        }
        DynamicImage::ImageRgb16(rgb) => rgb.as_raw().iter().map(high_byte).collect(),
        DynamicImage::ImageRgba16(rgba) => {
            rgba.as_raw().chunks_exact(4).flat_map(|p| p[..3].iter().map(high_byte)).collect()
        }
        other => return Ok(other.into_rgb8()),
    };
    RgbImage::from_raw(width, height, data)
        .ok_or_else(|| undecodable("it has fewer pixels than it says"))
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the shape `map` wants
const fn high_byte(value: &u16) -> u8 {
    value.to_be_bytes()[0]
}

/// Grey values, every `stride`-th of `data`, as three equal channels.
fn spread<T>(data: &[T], stride: usize, to_u8: impl Fn(&T) -> u8) -> Vec<u8> {
    data.iter().step_by(stride).flat_map(|v| [to_u8(v); 3]).collect()
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
