#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use ::image::codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};
use ::image::{ExtendedColorType, ImageEncoder};

/// A small picture in which every pixel differs.
fn sample(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        ::image::Rgb([(x * 20) as u8, (y * 30) as u8, (x * 7 + y * 11 + 40) as u8])
    })
}

fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, format).unwrap();
    out.into_inner()
}

fn code(bytes: &[u8]) -> &'static str {
    decode(bytes).unwrap_err().code()
}

/// A TIFF block that holds one field: the orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let mut block = b"MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec();
    block[19] = orientation;
    block
}

#[test]
fn lossless_formats_come_back_equal() {
    let rgb = sample(9, 6);
    let picture = DynamicImage::ImageRgb8(rgb.clone());
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp] {
        assert_eq!(decode(&encode(&picture, format)).unwrap(), rgb, "{format:?}");
    }
}

#[test]
fn lossy_formats_come_back_close() {
    let rgb = RgbImage::from_fn(32, 16, |x, _| {
        if x < 16 { ::image::Rgb([250, 10, 10]) } else { ::image::Rgb([10, 10, 240]) }
    });
    let jpeg = decode(&encode(&DynamicImage::ImageRgb8(rgb.clone()), ImageFormat::Jpeg)).unwrap();
    let gif = decode(&encode(
        &DynamicImage::ImageRgb8(rgb.clone()).into_rgba8().into(),
        ImageFormat::Gif,
    ))
    .unwrap();
    for got in [jpeg, gif] {
        assert_eq!(got.dimensions(), (32, 16));
        let worst =
            got.as_raw().iter().zip(rgb.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst < 60, "{worst}");
    }
}

#[test]
fn alpha_is_dropped_and_not_composited() {
    let rgb = sample(5, 4);
    let rgba = ::image::RgbaImage::from_fn(5, 4, |x, y| {
        let [r, g, b] = rgb.get_pixel(x, y).0;
        ::image::Rgba([r, g, b, (x * 50) as u8])
    });
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        assert_eq!(decode(&encode(&rgba.clone().into(), format)).unwrap(), rgb, "{format:?}");
    }
    let rgba16 = DynamicImage::ImageRgba16(::image::ImageBuffer::from_fn(5, 4, |x, y| {
        let [r, g, b] = rgb.get_pixel(x, y).0.map(|v| u16::from(v) << 8 | 0xFE);
        ::image::Rgba([r, g, b, 0])
    }));
    assert_eq!(decode(&encode(&rgba16, ImageFormat::Png)).unwrap(), rgb);
}

#[test]
fn grey_and_16_bit_become_rgb_by_their_high_byte() {
    let grey = |f: &dyn Fn(u32) -> u8| RgbImage::from_fn(4, 1, |x, _| ::image::Rgb([f(x); 3]));
    let l8 = DynamicImage::ImageLuma8(::image::GrayImage::from_fn(4, 1, |x, _| {
        ::image::Luma([x as u8 * 60])
    }));
    let la8 = DynamicImage::ImageLumaA8(::image::GrayAlphaImage::from_fn(4, 1, |x, _| {
        ::image::LumaA([x as u8 * 60, 3])
    }));
    let l16 = DynamicImage::ImageLuma16(::image::ImageBuffer::from_fn(4, 1, |x, _| {
        ::image::Luma([(x as u16 * 60) << 8 | 0xFF])
    }));
    let la16 = DynamicImage::ImageLumaA16(::image::ImageBuffer::from_fn(4, 1, |x, _| {
        ::image::LumaA([(x as u16 * 60) << 8, 9])
    }));
    let rgb16 = DynamicImage::ImageRgb16(::image::ImageBuffer::from_fn(4, 1, |x, _| {
        ::image::Rgb([(x as u16 * 60) << 8 | 0x80; 3])
    }));
    for picture in [l8, la8, l16, la16, rgb16] {
        assert_eq!(
            decode(&encode(&picture, ImageFormat::Png)).unwrap(),
            grey(&|x| x as u8 * 60),
            "{:?}",
            picture.color()
        );
    }
}

#[test]
fn exif_orientations_turn_the_picture() {
    // What the standard says: where the stored row 0 and column 0 are on the upright picture.
    let upright = |o: u8, w: u32, h: u32, x: u32, y: u32| match o {
        1 => (x, y),                 // top, left
        2 => (w - 1 - x, y),         // top, right
        3 => (w - 1 - x, h - 1 - y), // bottom, right
        4 => (x, h - 1 - y),         // bottom, left
        5 => (y, x),                 // left, top
        6 => (h - 1 - y, x),         // right, top
        7 => (h - 1 - y, w - 1 - x), // right, bottom
        _ => (y, w - 1 - x),         // left, bottom
    };
    let (w, h) = (3, 2);
    let stored = sample(w, h);
    let raw = stored.as_raw().as_slice();
    for o in 1..=8 {
        let mut files = Vec::new();
        for prefix in [&b""[..], b"Exif\0\0"] {
            let mut png = Vec::new();
            let mut encoder = PngEncoder::new(&mut png);
            encoder.set_exif_metadata([prefix, &exif(o)].concat()).unwrap();
            encoder.write_image(raw, w, h, ExtendedColorType::Rgb8).unwrap();
            let mut webp = Vec::new();
            let mut encoder = WebPEncoder::new_lossless(&mut webp);
            encoder.set_exif_metadata([prefix, &exif(o)].concat()).unwrap();
            encoder.write_image(raw, w, h, ExtendedColorType::Rgb8).unwrap();
            files.extend([png, webp]);
        }
        for file in files {
            let got = decode(&file).unwrap();
            assert_eq!(got.dimensions(), if o < 5 { (w, h) } else { (h, w) });
            for (x, y, pixel) in stored.enumerate_pixels() {
                let (ux, uy) = upright(o, w, h, x, y);
                assert_eq!(got.get_pixel(ux, uy), pixel, "orientation {o}, stored at {x}, {y}");
            }
        }
        let mut jpeg = Vec::new();
        let mut encoder = JpegEncoder::new(&mut jpeg);
        encoder.set_exif_metadata(exif(o)).unwrap();
        encoder.write_image(&[9; 24 * 8 * 3], 24, 8, ExtendedColorType::Rgb8).unwrap();
        assert_eq!(decode(&jpeg).unwrap().dimensions(), if o < 5 { (24, 8) } else { (8, 24) });
    }
}

#[test]
fn a_broken_exif_block_is_ignored() {
    for block in
        [exif(0), exif(9), exif(200), b"MM\0\x2A\xFF\xFF\xFF\xFF".to_vec(), vec![], b"II".to_vec()]
    {
        let mut png = Vec::new();
        let mut encoder = PngEncoder::new(&mut png);
        encoder.set_exif_metadata(block).unwrap();
        encoder.write_image(sample(3, 2).as_raw(), 3, 2, ExtendedColorType::Rgb8).unwrap();
        assert_eq!(decode(&png).unwrap(), sample(3, 2));
    }
}

#[test]
fn no_bytes_and_no_picture_have_their_own_codes() {
    assert_eq!(code(b""), "picture-empty");
    for bytes in [
        &b"x"[..],
        b"hello, world",
        b"%PDF-1.7\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1",
    ] {
        assert_eq!(code(bytes), "picture-undecodable");
    }
    let heic = decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap_err().to_string();
    assert!(heic.contains("HEIC"), "{heic}");
    assert_eq!(code(b"II*\0\x08\0\0\0\0\0\0\0\0\0\0\0"), "picture-undecodable");
}

#[test]
fn truncated_files_are_refused() {
    let rgb = RgbImage::from_fn(64, 48, |x, y| {
        ::image::Rgb([(x * y) as u8, (x * 37 + y * 91) as u8, (x ^ y) as u8])
    });
    let picture = DynamicImage::ImageRgb8(rgb);
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Bmp] {
        let whole = encode(&picture, format);
        for part in 1..16 {
            let cut = whole.len() * part / 16;
            assert_eq!(
                code(&whole[..cut]),
                "picture-undecodable",
                "{format:?} cut to {cut} of {}",
                whole.len()
            );
        }
    }
    let gif = encode(&picture.into_rgba8().into(), ImageFormat::Gif);
    for part in 1..15 {
        assert_eq!(code(&gif[..gif.len() * part / 16]), "picture-undecodable", "gif {part}/16");
    }
}

#[test]
fn a_jpeg_with_a_thumbnail_is_cut_short_where_its_own_scan_ends() {
    let mut encoder_out = Vec::new();
    let mut encoder = JpegEncoder::new(&mut encoder_out);
    encoder.set_exif_metadata([exif(1), vec![0xFF, 0xD8, 0xFF, 0xD9]].concat()).unwrap();
    encoder.write_image(&[77; 32 * 32 * 3], 32, 32, ExtendedColorType::Rgb8).unwrap();
    assert!(!is_cut_short(&encoder_out));
    assert!(is_cut_short(&encoder_out[..encoder_out.len() - 2]));
    // Bytes after the end, as phones append them, do no harm.
    encoder_out.extend(b"motion");
    assert!(decode(&encoder_out).is_ok());
}

/// A chunk's check sum.
fn crc(chunk: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in chunk {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// A PNG header with any size, and no pixels.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0D".to_vec();
    png.extend(&chunk);
    png.extend(crc(&chunk).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT\x35\xAF\x06\x1E");
    png
}

#[test]
fn the_size_is_checked_before_pixels_are_read() {
    for (w, h) in [
        (20_000, 20_000),
        (10_001, 10_000),
        (65_536, 2),
        (1, 100_000),
        (i32::MAX as u32, i32::MAX as u32),
    ] {
        match decode(&png_header(w, h)).unwrap_err() {
            Error::PictureTooLarge { width, height, limit_megapixels } => {
                assert_eq!((width, height, limit_megapixels), (w, h, 100))
            }
            other => panic!("{w} x {h}: {other}"),
        }
    }
    assert_eq!(code(&png_header(8, 8)), "picture-undecodable");
    assert_eq!(code(&png_header(0, 8)), "picture-undecodable");
    let mut bmp = encode(&DynamicImage::ImageRgb8(sample(4, 4)), ImageFormat::Bmp);
    bmp[18..26].copy_from_slice(&[0x20, 0x4E, 0, 0, 0x20, 0x4E, 0, 0]);
    assert_eq!(code(&bmp), "picture-too-large");
    let mut gif =
        encode(&DynamicImage::ImageRgb8(sample(4, 4)).into_rgba8().into(), ImageFormat::Gif);
    gif[6..10].copy_from_slice(&[0xFF; 4]);
    assert_eq!(code(&gif), "picture-too-large");
}

/// The bytes of a PNG with a chunk before its pixels.
fn with_chunk(png: &[u8], kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let end_of_header = 8 + 12 + 13;
    let chunk = [kind, data].concat();
    let length = (data.len() as u32).to_be_bytes();
    [&png[..end_of_header], &length, &chunk, &crc(&chunk).to_be_bytes(), &png[end_of_header..]]
        .concat()
}

#[test]
fn profiles_and_texts_of_a_png_are_passed_over() {
    let png = encode(&DynamicImage::ImageRgb8(sample(9, 6)), ImageFormat::Png);
    for kind in [b"iCCP", b"zTXt", b"iTXt", b"tEXt"] {
        for data in [&b"x\0\0not zlib"[..], b"", &[b'x'; 100_000]] {
            assert_eq!(decode(&with_chunk(&png, kind, data)).unwrap(), sample(9, 6), "{kind:?}");
        }
    }
}

/// Interlaced files, and every depth: the reference is the decoder that holds them whole.
#[test]
fn rows_are_put_where_the_whole_picture_has_them() {
    // 9 x 6 pixels in RGBA of 16 bits in seven passes, none of them compressed.
    let (w, h) = (9_u32, 6_u32);
    let pixel = |x: u32, y: u32| [(x * 20) as u8, (y * 30) as u8, (x * 7 + y * 11) as u8, 3];
    let mut rows = Vec::new();
    for (x0, y0, dx, dy) in [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ] {
        for y in (y0..h).step_by(dy) {
            let row: Vec<u8> =
                (x0..w).step_by(dx).flat_map(|x| pixel(x, y).map(|v| [v, 0xFE]).concat()).collect();
            if !row.is_empty() {
                rows.push(0); // no filter
                rows.extend(row);
            }
        }
    }
    let stored = (rows.len() as u16).to_le_bytes();
    let check = (!(rows.len() as u16)).to_le_bytes();
    let (mut a, mut b) = (1_u32, 0_u32);
    for &byte in &rows {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    let zlib = [&[0x78, 1, 1][..], &stored, &check, &rows, &(b << 16 | a).to_be_bytes()].concat();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = [&w.to_be_bytes()[..], &h.to_be_bytes(), &[16, 6, 0, 0, 1]].concat();
    for (kind, data) in [(b"IHDR", header), (b"IDAT", zlib), (b"IEND", vec![])] {
        let chunk = [&kind[..], &data].concat();
        png.extend((data.len() as u32).to_be_bytes());
        png.extend(&chunk);
        png.extend(crc(&chunk).to_be_bytes());
    }
    let got = decode(&png).unwrap();
    assert_eq!(
        got,
        RgbImage::from_fn(w, h, |x, y| {
            let [r, g, b, _] = pixel(x, y);
            ::image::Rgb([r, g, b])
        })
    );
    for cut in [png.len() - 40, png.len() / 2, 60] {
        assert_eq!(code(&png[..cut]), "picture-undecodable");
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let picture = DynamicImage::ImageRgb8(sample(12, 11));
    let mut files: Vec<Vec<u8>> =
        [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Bmp]
            .map(|f| encode(&picture, f))
            .to_vec();
    files.push(encode(&picture.into_rgba8().into(), ImageFormat::Gif));
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for file in &files {
        for _ in 0..300 {
            let mut bytes = file.clone();
            for _ in 0..1 + random() % 6 {
                let at = (random() % bytes.len() as u64) as usize;
                bytes[at] = random() as u8;
            }
            bytes.truncate(bytes.len() - (random() % 4) as usize);
            let _ = decode(&bytes);
        }
        // A right beginning and noise after it.
        for _ in 0..100 {
            let mut bytes = file[..12.min(file.len())].to_vec();
            bytes.extend((0..random() % 300).map(|_| random() as u8));
            let _ = decode(&bytes);
        }
    }
}
