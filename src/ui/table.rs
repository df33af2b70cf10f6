//! Tables as docker prints them: columns padded to their longest cell, three blanks between, no lines.

/// The least width of a column, blanks included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MinimumWidth {
    /// What a question is asked with.
    None,
    /// docker's own lists.
    Ten,
    /// docker compose's own lists.
    Twenty,
}

/// Texts as lines.
pub(crate) fn lines<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let mut text = String::new();
    for item in items {
        text.push_str(item.as_ref());
        text.push('\n');
    }
    text
}

/// Rows of cells, the first of them the titles.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    minimum: usize,
    gap: usize,
}

impl Table {
    /// A table with its titles.
    pub(crate) fn new<S: Into<String>>(
        minimum: MinimumWidth,
        titles: impl IntoIterator<Item = S>,
    ) -> Self {
        let minimum = match minimum {
            MinimumWidth::None => 0,
            MinimumWidth::Ten => 10,
            MinimumWidth::Twenty => 20,
        };
        Self {
            rows: vec![titles.into_iter().map(Into::into).collect()],
            minimum,
            gap: 3,
        }
    }

    /// A table with two blanks between its columns, as `top` has.
    pub(crate) fn narrow(titles: Vec<String>) -> Self {
        Self {
            rows: vec![titles],
            minimum: 4,
            gap: 2,
        }
    }

    /// Adds a row.
    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in &self.rows {
            // The last cell of a row ends the line, so it widens no column.
            for (column, cell) in row.iter().enumerate().take(row.len().saturating_sub(1)) {
                if widths.len() <= column {
                    widths.push(self.minimum);
                }
                widths[column] = widths[column].max(cell.chars().count() + self.gap);
            }
        }
        widths
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let last = row.len().saturating_sub(1);
            for (column, cell) in row.iter().enumerate() {
                if column == last {
                    writeln!(f, "{cell}")?;
                } else {
                    write!(f, "{cell:<width$}", width = widths[column])?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{MinimumWidth, Table};

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let mut table = Table::new(MinimumWidth::Ten, ["NAME", "STATUS"]);
        table.row(["project-web-1", "Up"]);
        assert_eq!(
            table.to_string(),
            "NAME            STATUS\nproject-web-1   Up\n"
        );
    }

    #[test]
    fn short_columns_keep_the_least_width() {
        let mut table = Table::new(MinimumWidth::Ten, ["A", "B"]);
        table.row(["1", "2"]);
        assert_eq!(table.to_string(), "A         B\n1         2\n");
    }
}
