//! `image tree`: images by the layers that they share, and what nobody would miss.
//!
//! ```text
//! 3f1c2a9d0b11  74.8MB  debian:12
//! ├── 9a0c…      9.1MB  app:1
//! └── 77b2…      1.2MB  app:2
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::ui::unit::decimal_size;

/// One image: its layers from the lowest, each with its size, and its names.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    pub(super) id: String,
    pub(super) names: Vec<String>,
    pub(super) layers: Vec<(String, u64)>,
}

/// A layer on all those above it.
#[derive(Debug, Default)]
struct Node {
    size: u64,
    labels: Vec<String>,
    above: BTreeMap<String, Node>,
}

/// The tree of images, and the sums below it.
pub(super) fn draw(stacks: &[Stack]) -> String {
    let mut root = Node::default();
    let mut whole = 0;
    for stack in stacks {
        let mut at = &mut root;
        for (diff_id, size) in &stack.layers {
            at = at.above.entry(diff_id.clone()).or_default();
            at.size = *size;
            whole += size;
        }
        let label = if stack.names.is_empty() {
            format!("<none> {}", stack.id)
        } else {
            stack.names.join(", ")
        };
        at.labels.push(label);
    }
    let mut text = String::new();
    if !root.labels.is_empty() {
        // Images without layers stand on nothing.
        line(&mut text, "", "-", &root);
    }
    for (diff_id, node) in &root.above {
        branch(&mut text, diff_id, node, ("", ""));
    }
    let stored = sum(&root);
    let named = sum_of_named(&root).unwrap_or(0);
    // Writing to a string does not fail.
    let _written = write!(
        text,
        "\nlayers: {} stored, {} without sharing, {} only in images without a name\n",
        decimal_size(stored),
        decimal_size(whole),
        decimal_size(stored - named),
    );
    text
}

fn line(text: &mut String, lead: &str, diff_id: &str, node: &Node) {
    let hex = diff_id.trim_start_matches("sha256:");
    let short = hex.get(..12).unwrap_or(hex);
    let labels = node.labels.join(", ");
    let drawn = format!("{lead}{short}  {:>8}  {labels}", decimal_size(node.size));
    let _written = writeln!(text, "{}", drawn.trim_end());
}

fn branch(text: &mut String, diff_id: &str, node: &Node, (lead, indent): (&str, &str)) {
    line(text, lead, diff_id, node);
    let mut above = node.above.iter().peekable();
    while let Some((diff_id, child)) = above.next() {
        let (mark, rail) = if above.peek().is_some() {
            ("├── ", "│   ")
        } else {
            ("└── ", "    ")
        };
        let lead = format!("{indent}{mark}");
        branch(text, diff_id, child, (&lead, &format!("{indent}{rail}")));
    }
}

fn sum(node: &Node) -> u64 {
    node.size + node.above.values().map(sum).sum::<u64>()
}

/// The sizes of all layers that an image with a name has; `None` where there is none.
fn sum_of_named(node: &Node) -> Option<u64> {
    let is_named = node.labels.iter().any(|label| !label.starts_with("<none>"));
    let above: Vec<u64> = node.above.values().filter_map(sum_of_named).collect();
    (is_named || !above.is_empty()).then(|| node.size + above.iter().sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::{Stack, draw};

    #[test]
    fn shared_layers_stand_once() {
        let stack = |names: &[&str], layers: &[(&str, u64)]| Stack {
            id: "0123".to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            layers: layers
                .iter()
                .map(|(id, size)| ((*id).to_owned(), *size))
                .collect(),
        };
        let drawn = draw(&[
            stack(&["base:1"], &[("sha256:aa", 1000)]),
            stack(
                &["app:1", "app:2"],
                &[("sha256:aa", 1000), ("sha256:bb", 20)],
            ),
            stack(&[], &[("sha256:aa", 1000), ("sha256:cc", 300)]),
        ]);
        assert_eq!(
            drawn,
            "aa       1kB  base:1\n├── bb       20B  app:1, app:2\n└── cc      300B  <none> 0123\n\n\
             layers: 1.32kB stored, 3.32kB without sharing, 300B only in images without a name\n"
        );
    }
}
