//! Go templates, as far as `--format` uses them: fields, `json`, `upper`, `lower`, `.Label "key"`, and `table`.
//!
//! ```text
//! "table {{.Name}}\t{{.Label \"x\"}}" --parse--> [Field, Text, Label] --render per row--> text
//! ```

use serde_json::Value;

use super::table::{MinimumWidth, Table, lines};

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// An action is not closed.
    #[error("template parsing error: unclosed action in `{0}`")]
    Unclosed(String),
    /// An action is beyond what we know.
    #[error("template parsing error: cannot evaluate `{0}`")]
    Unknown(String),
    /// The rows have no such field.
    #[error("template: can't evaluate field `{0}`")]
    NoField(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Action { operand: Operand, filter: Filter },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    Row,
    Field(String),
    Label(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    Text,
    Json,
    Upper,
    Lower,
}

/// A parsed template.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    parts: Vec<Part>,
    shape: Shape,
}

/// Whether the rows form a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// With titles and padded columns.
    Table,
    /// One line for each row.
    Lines,
}

impl Template {
    /// Parses the value of `--format`.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let (shape, body) = match text.strip_prefix("table ") {
            Some(body) => (Shape::Table, body.trim_start()),
            None => (Shape::Lines, text),
        };
        let body = body.replace("\\t", "\t").replace("\\n", "\n");
        Ok(Self {
            parts: parse_parts(&body)?,
            shape,
        })
    }

    /// The titles of the columns: fields in capitals, words parted.
    fn titles(&self) -> String {
        let title = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Action { operand, .. } => match operand {
                Operand::Row => String::new(),
                Operand::Field(name) => capitals(name),
                Operand::Label(key) => capitals(key.rsplit('.').next().unwrap_or(key)),
            },
        };
        self.parts.iter().map(title).collect()
    }

    /// Renders rows (the fields, and the labels, of each) as lines or as a table.
    pub(crate) fn render_all(
        &self,
        rows: impl IntoIterator<Item = (Value, Value)>,
    ) -> Result<String, TemplateError> {
        let rows: Result<Vec<_>, _> = rows
            .into_iter()
            .map(|(row, labels)| self.render(&row, &labels))
            .collect();
        let rows = rows?;
        if self.shape == Shape::Lines {
            return Ok(lines(rows));
        }
        let titles = self.titles();
        let mut table = Table::new(MinimumWidth::Ten, titles.split('\t'));
        for row in &rows {
            table.row(row.split('\t'));
        }
        Ok(table.to_string())
    }

    /// Renders a row: an object with the fields, and `labels` as an object of its own.
    fn render(&self, row: &Value, labels: &Value) -> Result<String, TemplateError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Action { operand, filter } => {
                    text.push_str(&apply(*filter, &find(operand, row, labels)?));
                }
            }
        }
        Ok(text)
    }
}

fn find(operand: &Operand, row: &Value, labels: &Value) -> Result<Value, TemplateError> {
    match operand {
        Operand::Row => Ok(row.clone()),
        Operand::Field(name) => row
            .get(name)
            .cloned()
            .ok_or_else(|| TemplateError::NoField(name.clone())),
        Operand::Label(key) => Ok(labels.get(key).cloned().unwrap_or_else(|| Value::from(""))),
    }
}

fn apply(filter: Filter, value: &Value) -> String {
    let plain = || match value {
        Value::String(text) => text.clone(),
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)) => other.to_string(),
    };
    match filter {
        Filter::Text => plain(),
        Filter::Json => value.to_string(),
        Filter::Upper => plain().to_uppercase(),
        Filter::Lower => plain().to_lowercase(),
    }
}

fn parse_parts(body: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = body;
    while let Some((before, after)) = rest.split_once("{{") {
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        let (action, after) = after
            .split_once("}}")
            .ok_or_else(|| TemplateError::Unclosed(body.to_owned()))?;
        parts.push(parse_action(action.trim_matches(['-', ' ']))?);
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

/// `.Name`, `json .`, `json .Name`, `.Name | upper`, `.Label "key"`.
fn parse_action(action: &str) -> Result<Part, TemplateError> {
    let unknown = || TemplateError::Unknown(action.to_owned());
    let (filter, operand) = match action.split_once('|') {
        Some((operand, filter)) => (filter.trim(), operand.trim()),
        None if action.starts_with('.') => ("", action),
        None => action.split_once(' ').ok_or_else(unknown)?,
    };
    let filter = match filter {
        "" | "print" => Filter::Text,
        "json" => Filter::Json,
        "upper" => Filter::Upper,
        "lower" => Filter::Lower,
        _ => return Err(unknown()),
    };
    let operand = parse_operand(operand.trim()).ok_or_else(unknown)?;
    Ok(Part::Action { operand, filter })
}

fn parse_operand(text: &str) -> Option<Operand> {
    let name = text.strip_prefix('.')?;
    if name.is_empty() {
        return Some(Operand::Row);
    }
    if let Some(key) = name.strip_prefix("Label ") {
        return Some(Operand::Label(
            key.trim().trim_matches(['"', '`']).to_owned(),
        ));
    }
    name.chars()
        .all(char::is_alphanumeric)
        .then(|| Operand::Field(name.to_owned()))
}

fn capitals(name: &str) -> String {
    match name {
        "ID" => "CONTAINER ID".to_owned(),
        "RunningFor" => "CREATED".to_owned(),
        "CreatedAt" => "CREATED AT".to_owned(),
        "LocalVolumes" => "LOCAL VOLUMES".to_owned(),
        "ExitCode" => "EXIT CODE".to_owned(),
        other => other.to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Shape, Template, TemplateError};
    use serde_json::json;

    fn render(template: &str) -> Result<String, TemplateError> {
        let row = json!({ "Name": "p-web-1", "ExitCode": 3 });
        Template::parse(template)?.render(&row, &json!({ "a.b": "c" }))
    }

    #[test]
    fn fields_labels_and_functions_are_known() -> Result<(), TemplateError> {
        assert_eq!(render("{{.Name}}: {{ .ExitCode }}")?, "p-web-1: 3");
        assert_eq!(render("{{json .Name}}")?, "\"p-web-1\"");
        assert_eq!(render("{{json .}}")?, r#"{"Name":"p-web-1","ExitCode":3}"#);
        assert_eq!(render("{{.Name | upper}}")?, "P-WEB-1");
        assert_eq!(render(r#"{{.Label "a.b"}}{{.Label "none"}}"#)?, "c");
        Ok(())
    }

    #[test]
    fn a_table_has_titles() -> Result<(), TemplateError> {
        let template = Template::parse(r"table {{.Name}}\t{{.ExitCode}}")?;
        assert_eq!(template.shape, Shape::Table);
        assert_eq!(template.titles(), "NAME\tEXIT CODE");
        Ok(())
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(render("{{.Name").is_err());
        assert!(render("{{range .}}").is_err());
        assert!(render("{{.Nope}}").is_err());
    }
}
