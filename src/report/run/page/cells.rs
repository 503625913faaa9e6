//! The filters of the first convolution in the cells of a terminal.

use super::filters::Drawing;
use super::sheets::Tile;
use crate::report::run::{Film, Moment};

/// Columns between two filters.
const GAP: usize = 2;

/// The filters of a film at its last moment, side by side in lines of at most `width` characters, two pixels in a character:
/// the colour of the upper one is that of the letter `▀`, the colour of the lower one that of what is behind it. Of filters
/// that are not in colour, orange is negative, white zero and blue positive.
///
/// Nothing if the film has no filters, or one of them is wider than a line.
pub fn cells(film: &Film, width: usize) -> String {
    let Some((drawing, moment)) = Drawing::of(film).zip(film.moments.last()) else { return String::new() };
    let of_filter = |filter: usize| drawing.filter(moment, filter);
    let Some([tile_width, tile_height]) = whole(film, moment).then(|| of_filter(0).size) else {
        return String::new();
    };
    let across = (width + GAP) / (tile_width + GAP);
    if across == 0 {
        return String::new();
    }
    let tiles: Vec<Tile> = (0..film.filters).map(of_filter).collect();
    let mut text = String::new();
    for tiles in tiles.chunks(across) {
        for upper in (0..tile_height).step_by(2) {
            for (number, tile) in tiles.iter().enumerate() {
                text.push_str(if number > 0 { "  " } else { "" });
                for column in 0..tile_width {
                    let colour = |row: usize| {
                        let at = 3 * (row * tile_width + column);
                        tile.pixels
                            .get(at..at + 3)
                            .map(|colour| format!("{};{};{}", colour[0], colour[1], colour[2]))
                    };
                    let of_upper = colour(upper).unwrap_or_default();
                    match colour(upper + 1) {
                        Some(lower) => text.push_str(&format!("\u{1b}[38;2;{of_upper};48;2;{lower}m▀")),
                        None => text.push_str(&format!("\u{1b}[38;2;{of_upper};49m▀")),
                    }
                }
                text.push_str("\u{1b}[0m");
            }
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

fn whole(film: &Film, moment: &Moment) -> bool {
    film.size.is_some_and(|size| moment.values.len() == film.filters * size.elements())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::ImageShape;

    #[test]
    fn two_rows_share_a_line_and_filters_stand_side_by_side() {
        let moment = Moment { values: vec![1.0, -1.0, 0.0, 1.0, 1.0, 1.0], ..Moment::default() };
        let size = Some(ImageShape { height: 3, width: 1, channels: 1 });
        let film = Film { filters: 2, size, moments: vec![moment], ..Film::default() };
        let (blue, orange, white) = ("27;95;168", "179;88;6", "247;247;247");
        let end = "\u{1b}[0m";
        let lines = [
            format!("\u{1b}[38;2;{blue};48;2;{orange}m▀{end}  \u{1b}[38;2;{blue};48;2;{blue}m▀{end}"),
            format!("\u{1b}[38;2;{white};49m▀{end}  \u{1b}[38;2;{blue};49m▀{end}"),
        ];
        assert_eq!(cells(&film, 80), format!("{}\n{}\n\n", lines[0], lines[1]));
        // One below the other where there is no room.
        assert_eq!(cells(&film, 3).lines().filter(|line| line.is_empty()).count(), 2);
        assert_eq!(cells(&film, 0), "");
        assert_eq!(cells(&Film::default(), 80), "");
    }
}
