//! Rows of text in columns.

/// Lines of aligned columns, two spaces apart: the first column to the left, the others to the right. Every row has as many
/// cells as the head.
///
/// ```text
/// class  precision  recall
/// cat      91.30 %  88.00 %
/// ```
pub fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let count = |text: &str| text.chars().count();
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(column, title)| rows.iter().map(|row| count(&row[column])).fold(count(title), usize::max))
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut head.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_aligned() {
        let rows = [["a", "1.0"], ["größer", "100.0"]].map(|row| row.map(String::from).to_vec());
        assert_eq!(columns(&["of", "n"], &rows), "of          n\na         1.0\ngrößer  100.0");
        assert_eq!(columns(&["of", "n"], &[]), "of  n");
    }
}
