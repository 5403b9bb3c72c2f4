//! `instructblip ask --attention`: where the model looked, drawn over the picture or as JSON.

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use instructblip_web::pace::Pace;
use instructblip_web::session::{AttentionMaps, AttentionOptions, PictureMap, Session};
use instructblip_web::{Error, Result};

/// Where to write, and what to compare with.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Where it looked")]
pub struct AttentionArgs {
    /// Write the Q-Former's attention to the picture: .png draws it over the picture (over the
    /// first of several), .json has all the numbers.
    #[arg(long, value_name = "FILE")]
    attention: Option<PathBuf>,
    /// Draw how the attention differs from that for another question.
    #[arg(long, value_name = "QUESTION", requires = "attention")]
    against: Option<String>,
}

/// Writes the map that `args` asks for, if any.
///
/// # Errors
/// The GPU failed, or the file cannot be written.
pub fn write(
    args: &AttentionArgs,
    session: &Session,
    question: &str,
    instruction_aware: Option<bool>,
    picture: &[u8],
) -> Result<()> {
    let Some(out) = &args.attention else {
        return Ok(());
    };
    let options = AttentionOptions { against: args.against.clone(), instruction_aware };
    let pace = Pace::default();
    let maps = pollster::block_on(session.attention(question, &options, &pace))?;
    if out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        let json = serde_json::json!(maps).to_string();
        return std::fs::write(out, json).map_err(|error| Error::io(out, error));
    }
    let picture = instructblip_web::image::decode(picture)?;
    save(&draw(picture, &maps), out)
}

fn save(picture: &RgbImage, out: &Path) -> Result<()> {
    picture
        .save_with_format(out, image::ImageFormat::Png)
        .map_err(|error| Error::io(out, std::io::Error::other(error)))
}

/// Red, green, blue and opacity.
type Colour = [f32; 4];

/// The colours of a map from its lowest to its highest value.
struct Scale {
    stops: &'static [Colour],
    low: f32,
    high: f32,
}

/// Dark blue through red to light yellow: lighter is more. As the page has it.
const MORE: &[Colour] = &[
    [13.0, 8.0, 60.0, 0.62],
    [126.0, 3.0, 168.0, 0.5],
    [230.0, 92.0, 80.0, 0.5],
    [252.0, 230.0, 70.0, 0.68],
];
/// Blue for less, nothing for the same, orange for more. As the page has it.
const DIFFERENCE: &[Colour] = &[
    [20.0, 90.0, 230.0, 0.75],
    [60.0, 140.0, 240.0, 0.35],
    [255.0, 255.0, 255.0, 0.0],
    [250.0, 150.0, 40.0, 0.35],
    [235.0, 80.0, 0.0, 0.75],
];

impl Scale {
    fn of(maps: &AttentionMaps) -> Option<(&PictureMap, Self)> {
        if let Some(map) = maps.difference.as_ref().and_then(|pictures| pictures.first()) {
            let most = map.average.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            return Some((map, Self { stops: DIFFERENCE, low: -most, high: most }));
        }
        let map = maps.pictures.first()?;
        let high = map.average.iter().fold(0.0f32, |most, x| most.max(*x));
        let low = map.average.iter().fold(high, |least, x| least.min(*x));
        Some((map, Self { stops: MORE, low, high }))
    }

    fn color(&self, value: f32) -> Colour {
        let range = (self.high - self.low).max(f32::MIN_POSITIVE);
        let at = ((value - self.low) / range).clamp(0.0, 1.0) * (self.stops.len() - 1) as f32;
        let first = (at as usize).min(self.stops.len() - 2);
        let part = at - first as f32;
        std::array::from_fn(|i| {
            self.stops[first][i] * (1.0 - part) + self.stops[first + 1][i] * part
        })
    }
}

/// The picture with the map over it and a legend below.
fn draw(picture: RgbImage, maps: &AttentionMaps) -> RgbImage {
    let Some((map, scale)) = Scale::of(maps) else {
        return picture;
    };
    let (width, height) = picture.dimensions();
    let unit = (width / 160).max(1);
    let legend = 13 * unit;
    let mut out = RgbImage::from_pixel(width, height + legend, Rgb([255, 255, 255]));
    for (x, y, pixel) in picture.enumerate_pixels() {
        // The model sees the picture squeezed into a square of patches.
        let (u, v) = ((x as f32 + 0.5) / width as f32, (y as f32 + 0.5) / height as f32);
        let color = scale.color(between(&map.average, maps.side, u, v));
        out.put_pixel(x, y, blend(*pixel, color));
    }
    let percent = |value: f32| format!("{:.1}%", 100.0 * value);
    let (low, high) = (percent(scale.low), percent(scale.high));
    let margin = 2 * unit;
    let bar = [
        margin + text_width(&low, unit) + margin,
        width.saturating_sub(margin + text_width(&high, unit) + margin),
    ];
    for x in bar[0]..bar[1] {
        let part = (x - bar[0]) as f32 / (bar[1] - bar[0]) as f32;
        let color = scale.color(scale.low + part * (scale.high - scale.low));
        for y in margin..legend - margin {
            out.put_pixel(x, height + y, blend(GREY, color));
        }
    }
    write_text(&mut out, &low, [margin, height + 4 * unit], unit);
    write_text(&mut out, &high, [bar[1] + margin, height + 4 * unit], unit);
    out
}

/// What the legend's colours lie on, as on the page.
const GREY: Rgb<u8> = Rgb([128; 3]);

fn blend(below: Rgb<u8>, above: Colour) -> Rgb<u8> {
    let opacity = above[3];
    let mix = |a: u8, b: f32| (f32::from(a) * (1.0 - opacity) + b * opacity).round() as u8;
    Rgb(std::array::from_fn(|i| mix(below.0[i], above[i])))
}

/// The map at (u, v) of its square, bilinear between the centres of patches.
fn between(map: &[f32], side: usize, u: f32, v: f32) -> f32 {
    let place = |t: f32| {
        let at = (t * side as f32 - 0.5).clamp(0.0, (side - 1) as f32);
        let first = at as usize;
        (first, (first + 1).min(side - 1), at - first as f32)
    };
    let ((x0, x1, px), (y0, y1, py)) = (place(u), place(v));
    let row = |y: usize| map[y * side + x0] * (1.0 - px) + map[y * side + x1] * px;
    row(y0) * (1.0 - py) + row(y1) * py
}

/// The characters of a percentage, three dots wide and five high, a row of three bits each.
const GLYPHS: [(char, [u8; 5]); 13] = [
    ('0', [7, 5, 5, 5, 7]),
    ('1', [2, 6, 2, 2, 7]),
    ('2', [7, 1, 7, 4, 7]),
    ('3', [7, 1, 7, 1, 7]),
    ('4', [5, 5, 7, 1, 1]),
    ('5', [7, 4, 7, 1, 7]),
    ('6', [7, 4, 7, 5, 7]),
    ('7', [7, 1, 2, 2, 2]),
    ('8', [7, 5, 7, 5, 7]),
    ('9', [7, 5, 7, 1, 7]),
    ('.', [0, 0, 0, 0, 2]),
    ('-', [0, 0, 7, 0, 0]),
    ('%', [5, 1, 2, 4, 5]),
];

fn text_width(text: &str, unit: u32) -> u32 {
    4 * unit * text.len() as u32
}

fn write_text(out: &mut RgbImage, text: &str, [left, top]: [u32; 2], unit: u32) {
    for (i, c) in text.chars().enumerate() {
        let Some((_, rows)) = GLYPHS.iter().find(|(name, _)| *name == c) else {
            continue;
        };
        for dot in 0..15 {
            let (column, row) = (dot % 3, dot / 3);
            if rows[row as usize] >> (2 - column) & 1 == 0 {
                continue;
            }
            for pixel in 0..unit * unit {
                let x = left + (4 * i as u32 + column) * unit + pixel % unit;
                let y = top + row * unit + pixel / unit;
                if let Some(pixel) = out.get_pixel_mut_checked(x, y) {
                    *pixel = Rgb([0; 3]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn maps(difference: bool) -> AttentionMaps {
        let map = PictureMap {
            average: vec![0.0, 0.1, 0.0, 0.3],
            queries: vec![],
            class_share: 0.6,
            layers: vec![],
        };
        let mut less = map.clone();
        less.average = vec![-0.2, 0.0, 0.0, 0.1];
        let difference = difference.then(|| vec![less]);
        AttentionMaps { side: 2, pictures: vec![map], difference }
    }

    fn light(pixel: &Rgb<u8>) -> u32 {
        pixel.0.iter().map(|channel| u32::from(*channel)).sum()
    }

    #[test]
    fn more_attention_is_lighter_and_the_legend_is_below() {
        let drawn = draw(RgbImage::from_pixel(320, 160, Rgb([90; 3])), &maps(false));
        assert_eq!(drawn.dimensions(), (320, 160 + 26));
        let corner = |x, y| light(drawn.get_pixel(x, y));
        assert!(corner(319, 159) > corner(319, 0) && corner(319, 0) > corner(0, 0));
        assert_eq!(drawn.get_pixel(0, 160), &Rgb([255; 3]));
        let black = drawn.enumerate_pixels().filter(|(_, y, p)| *y >= 160 && light(p) == 0);
        assert!(black.count() > 100, "the legend has its numbers");
    }

    #[test]
    fn the_colours_are_the_page_s() {
        let (script, style) = (
            include_str!("../../../www/page/map_panel.js"),
            include_str!("../../../www/page/picture.css"),
        );
        let join = |stops: &[Colour], stop: fn(&Colour) -> String| {
            stops.iter().map(stop).collect::<Vec<_>>().join(", ")
        };
        for (name, stops) in [("MORE", MORE), ("DIFFERENCE", DIFFERENCE)] {
            let list = join(stops, |[r, g, b, a]| format!("[{r}, {g}, {b}, {a}]"));
            assert!(script.contains(&format!("const {name} = [{list}];")), "{list}");
            let list = join(stops, |[r, g, b, a]| format!("rgb({r} {g} {b} / {a})"));
            assert!(style.contains(&format!("(to right, {list})")), "{list}");
        }
    }

    #[test]
    fn less_is_blue_and_more_is_red() {
        let drawn = draw(RgbImage::from_pixel(64, 64, Rgb([128; 3])), &maps(true));
        let [red, _, blue] = drawn.get_pixel(0, 0).0;
        assert!(blue > red);
        let [red, _, blue] = drawn.get_pixel(63, 63).0;
        assert!(red > blue);
    }

    #[test]
    fn any_size_is_drawn() {
        for (width, height) in [(1, 1), (1, 300), (500, 2)] {
            let drawn = draw(RgbImage::new(width, height), &maps(false));
            assert!(drawn.width() == width && drawn.height() > height);
        }
    }
}
