// Sizes of a tensor [samples,rows,K] whose channels are normalised in groups, and index calculations with them.
// Appended by src/ops/norm/group.

override SAMPLES: u32;
override ROWS: u32;
override CHANNELS: u32;
override GROUPS: u32;

override GROUP_CHANNELS: u32 = CHANNELS / GROUPS;
// Number of values of a group of one sample.
override COUNT: u32 = ROWS * GROUP_CHANNELS;
override SEGMENTS: u32 = SAMPLES * GROUPS;

// Number of the group, counted through all samples, of the value at an index.
fn segment_of(index: u32) -> u32 {
    return index / CHANNELS / ROWS * GROUPS + index % CHANNELS / GROUP_CHANNELS;
}

// Index of a group's value of this number.
fn index_of(segment: u32, number: u32) -> u32 {
    let row = segment / GROUPS * ROWS + number / GROUP_CHANNELS;
    return row * CHANNELS + segment % GROUPS * GROUP_CHANNELS + number % GROUP_CHANNELS;
}
