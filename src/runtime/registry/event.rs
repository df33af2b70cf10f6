//! News of a transfer, in the API's form.

use serde_json::{Value, json};

/// One line of progress.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PullEvent {
    /// What happens.
    pub status: String,
    /// To what: a tag or a short layer id.
    pub id: Option<String>,
    /// Bytes done, and all bytes.
    pub progress: Option<(u64, u64)>,
    /// The result of a push: tag, digest, length of the manifest.
    pub aux: Option<(String, String, u64)>,
}

impl PullEvent {
    pub(super) fn plain(status: impl Into<String>) -> Self {
        Self {
            status: status.into(),
            ..Self::default()
        }
    }

    pub(super) fn of(id: &str, status: &str) -> Self {
        Self {
            status: status.to_owned(),
            id: Some(id.to_owned()),
            ..Self::default()
        }
    }

    pub(super) fn at(id: &str, status: &str, current: u64, total: u64) -> Self {
        Self {
            progress: Some((current, total)),
            ..Self::of(id, status)
        }
    }

    /// The message for clients.
    #[must_use]
    pub fn to_json(&self) -> Value {
        if let Some((tag, digest, size)) = &self.aux {
            return json!({"progressDetail": {}, "aux": {"Tag": tag, "Digest": digest, "Size": size}});
        }
        let mut message = json!({"status": self.status});
        if let Some((current, total)) = self.progress {
            message["progressDetail"] = json!({"current": current, "total": total});
            message["progress"] = Value::String(bar(current, total));
        } else if self.id.is_some() {
            message["progressDetail"] = json!({});
        }
        if let Some(id) = &self.id {
            message["id"] = Value::String(id.clone());
        }
        message
    }
}

/// `[=====>     ]  1.2MB/3.4MB`
fn bar(current: u64, total: u64) -> String {
    const WIDTH: u64 = 50;
    if total == 0 || current > total {
        return size(current);
    }
    let done = usize::try_from(current * WIDTH / total).unwrap_or(0);
    let rest = 50 - done;
    let head = if done < 50 { ">" } else { "" };
    format!(
        "[{}{head}{}]  {}/{}",
        "=".repeat(done),
        " ".repeat(rest.saturating_sub(1)),
        size(current),
        size(total)
    )
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" {
                format!("{bytes}B")
            } else {
                format!("{value:.4}")
                    .chars()
                    .take(5)
                    .collect::<String>()
                    .trim_end_matches('.')
                    .to_owned()
                    + unit
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1}TB")
}

#[cfg(test)]
mod tests {
    use super::PullEvent;

    #[test]
    fn a_message_has_what_clients_expect() {
        let message = PullEvent::at("abc", "Downloading", 1_500_000, 3_000_000).to_json();
        assert_eq!(message["progressDetail"]["current"], 1_500_000);
        assert_eq!(
            message["progress"],
            format!("[{}>{}]  1.500MB/3.000MB", "=".repeat(25), " ".repeat(24))
        );
        assert_eq!(
            PullEvent::of("abc", "Pull complete").to_json()["progressDetail"],
            serde_json::json!({})
        );
    }
}
