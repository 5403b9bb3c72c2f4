// The tokens of `rows` texts that are decoded side by side. A line of 2 * rows words for each
// position: the ids of all rows, then the bits of their log-probabilities (f32).
// Needs the binding `history: array<u32>`.

fn token_at(position: u32, row: u32, rows: u32) -> u32 {
    return history[position * 2u * rows + row];
}

fn write_token(position: u32, row: u32, rows: u32, id: u32, log_probability: f32) {
    let line = position * 2u * rows;
    history[line + row] = id;
    history[line + rows + row] = bitcast<u32>(log_probability);
}
