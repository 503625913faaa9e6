// A part of a sum that is too long for one launch: each launch runs a part of the loops, and continues from the result
// that the launch before it left in memory. A kernel without one of the loops does not read its bounds.
// Set by src/ops/parts.rs.

override PART: u32;
override PARTS: u32;

// Bounds for the rows and columns of a window, and for the terms at one tap.
override FIRST_R: u32;
override END_R: u32;
override FIRST_S: u32;
override END_S: u32;
override FIRST_TERM: u32;
override END_TERM: u32;

override IS_FIRST_PART: bool = PART == 0u;
override IS_LAST_PART: bool = PART + 1u == PARTS;
