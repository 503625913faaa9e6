// Tiles of TILE_HEIGHT x TILE_WIDTH results, numbered row by row and image by image, and the patches that they are
// computed from.
// A tile may extend past the bottom and the right of its image. Appended to Winograd's transforms by
// src/ops/conv/gpu/winograd.rs, which also appends the tile sizes as const lines.

override TILES_DOWN: u32;
override TILES_ACROSS: u32;

const PATCH_HEIGHT: u32 = TILE_HEIGHT + 2u;
const PATCH_WIDTH: u32 = TILE_WIDTH + 2u;

override TILES: u32 = BATCH_SIZE * TILES_DOWN * TILES_ACROSS;

struct Tile {
    image: u32,
    // Position of its upper left result.
    row: u32,
    column: u32,
}

fn tile_of(number: u32) -> Tile {
    let across = number % TILES_ACROSS;
    let down = number / TILES_ACROSS % TILES_DOWN;
    return Tile(number / (TILES_ACROSS * TILES_DOWN), down * TILE_HEIGHT, across * TILE_WIDTH);
}
