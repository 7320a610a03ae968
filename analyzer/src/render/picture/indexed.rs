//! Fewer colours for smaller files: what is a third of the size loads three times as fast in a
//! page or a mail.
//!
//! Most pixels of a picture have one of a few colours; the thousands of others are edges of text
//! and lines. So the most frequent colours are kept exactly; then those are added, one by one,
//! that are farthest from all that there are; each other colour becomes the nearest. Where that
//! would move one further than an eye tells, as in the map of a heap with many mixed states, all
//! colours stay.

use super::palette::Rgb;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

/// What a palette of one byte a pixel holds.
const MOST_COLOURS: usize = 256;
/// Kept for being frequent; the rest for being far from these.
const FREQUENT: usize = 100;
/// No channel moves by more, of 255.
const MOST_STEP: u8 = 16;

/// Pixels as places in a palette.
pub(super) struct Indexed {
    pub palette: Vec<Rgb>,
    pub pixels: Vec<u8>,
}

/// The same picture in at most 256 colours; `None` if it would look different.
pub(super) fn indexed(rgb: &[u8]) -> Option<Indexed> {
    let (colours, _) = rgb.as_chunks::<3>();
    let mut counts: FxHashMap<[u8; 3], u64> = FxHashMap::default();
    for colour in colours {
        *counts.entry(*colour).or_default() += 1;
    }
    let mut by_count: Vec<([u8; 3], u64)> = counts.into_iter().collect();
    by_count.sort_by_key(|(colour, count)| (Reverse(*count), *colour));
    let all: Vec<[u8; 3]> = by_count.into_iter().map(|(colour, _)| colour).collect();
    let kept = choose(&all);
    let mut places: FxHashMap<[u8; 3], u8> = FxHashMap::default();
    for (colour, near) in all.iter().zip(&kept.nearest) {
        if step(*colour, kept.palette[usize::from(*near)]) > MOST_STEP {
            return None;
        }
        places.insert(*colour, *near);
    }
    let pixels = colours.iter().map(|colour| places[colour]).collect();
    let palette = kept.palette.into_iter().map(|[r, g, b]| (r, g, b)).collect();
    Some(Indexed { palette, pixels })
}

/// A palette, and for each colour the place of the nearest in it.
struct Kept {
    palette: Vec<[u8; 3]>,
    nearest: Vec<u8>,
}

/// `all` in order of frequency.
fn choose(all: &[[u8; 3]]) -> Kept {
    let frequent = if all.len() <= MOST_COLOURS { all.len() } else { FREQUENT };
    let mut palette: Vec<[u8; 3]> = Vec::with_capacity(MOST_COLOURS);
    let mut nearest = vec![0u8; all.len()];
    let mut distances = vec![u32::MAX; all.len()];
    let mut next = 0;
    while palette.len() < MOST_COLOURS && next < all.len() && distances[next] > 0 {
        let (place, added) = (palette.len() as u8, all[next]);
        palette.push(added);
        for (at, colour) in all.iter().enumerate() {
            let distance = apart(*colour, added);
            if distance < distances[at] {
                (distances[at], nearest[at]) = (distance, place);
            }
        }
        next = if palette.len() < frequent {
            palette.len()
        } else {
            let farthest = distances.iter().enumerate().rev().max_by_key(|(_, far)| **far);
            farthest.map_or(all.len(), |(at, _)| at)
        };
    }
    Kept { palette, nearest }
}

fn apart(a: [u8; 3], b: [u8; 3]) -> u32 {
    a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
}

/// The greatest difference of a channel.
fn step(a: [u8; 3], b: [u8; 3]) -> u8 {
    a.iter().zip(b).map(|(a, b)| a.abs_diff(b)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_colours_stay_as_they_are() {
        let rgb = [[1, 2, 3], [9, 9, 9], [1, 2, 3]].concat();
        let few = indexed(&rgb).expect("few");
        let back: Vec<Rgb> = few.pixels.iter().map(|at| few.palette[usize::from(*at)]).collect();
        assert_eq!(back, [(1, 2, 3), (9, 9, 9), (1, 2, 3)]);
        assert_eq!(few.palette.len(), 2);
        assert!(indexed(&[]).expect("none").pixels.is_empty());
    }

    #[test]
    fn frequent_colours_stay_and_rare_ones_move_little() {
        // A ground, and an edge of 1,000 shades of grey and red, each once.
        let mut rgb = vec![250u8; 3 * 5000];
        for shade in 0..1000u32 {
            let grey = (shade / 8 * 2) as u8;
            rgb.extend([grey.saturating_add((shade % 8) as u8), grey, grey]);
        }
        let few = indexed(&rgb).expect("shades lie close");
        assert_eq!(few.palette[usize::from(few.pixels[0])], (250, 250, 250));
        for (was, at) in rgb.as_chunks::<3>().0.iter().zip(&few.pixels) {
            let (r, g, b) = few.palette[usize::from(*at)];
            assert!(step(*was, [r, g, b]) <= MOST_STEP, "{was:?} became {:?}", (r, g, b));
        }
    }

    #[test]
    fn a_picture_of_all_colours_keeps_them() {
        let all =
            (0..20u8).flat_map(|r| (0..20u8).flat_map(move |g| (0..20u8).map(move |b| (r, g, b))));
        let rgb: Vec<u8> = all.flat_map(|(r, g, b)| [r * 12, g * 12, b * 12]).collect();
        assert!(indexed(&rgb).is_none());
    }
}
