//! `docs/configuration.md`, written from the doc comments of the raw types.

use gateway_core::config::Raw;
use serde_json::Value;
use std::fmt::Write;

use super::schema;

const OPENING: &str = "\
<!-- Generated from the doc comments in gateway/core/src/config/. Change those, then run:
     UPDATE_GENERATED=1 cargo test -p gateway reference -->

# Configuration

Orthrus reads one TOML file. After it, environment variables named `ORTHRUS__SECTION__KEY` override single keys, such as
`ORTHRUS__TELEMETRY__LOG_FORMAT=json`; `ORTHRUS__LISTEN__AUTHENTICATION` takes several addresses separated by commas. The
lists of tables, written `[[...]]`, stand in the file only.

- Relative paths start at the folder of the file.
- Durations and sizes carry their unit: `\"90s\"`, `\"15m\"`, `\"4MiB\"`. A bare number is refused.
- A secret is never a value: a key ending in `_file` names the file that holds it, one ending in `_env` the environment
  variable. One trailing newline of such a file is not part of the secret. Files that every user of the machine may open are
  warned of.
- A key that does not exist is an error, and all errors are listed at once, each with its place and its remedy.
- \"Reload\" says whether a change takes effect when the configuration is loaded again, or needs a restart. An attempt that is
  under way keeps the configuration that it began with.
";

/// The reference of every section and key, in Markdown.
pub fn reference() -> String {
    let root = Raw::schema();
    let mut out = OPENING.to_owned();
    section(&mut out, &root, &root, "Top level", |node| !is_section(&root, node));
    for (key, node) in properties(&root).filter(|(_, node)| is_section(&root, node)) {
        let (title, table) = match node.get("items") {
            Some(items) => (format!("`[[{key}]]`"), schema::resolve(&root, items)),
            None => (format!("`[{key}]`"), schema::resolve(&root, node)),
        };
        section(&mut out, &root, table, &title, |_| true);
        nested(&mut out, &root, table, key);
    }
    out
}

/// The tables within a table, each as a section of its own.
fn nested(out: &mut String, root: &Value, table: &Value, path: &str) {
    for (key, node) in properties(table).filter(|(_, node)| is_section(root, node)) {
        let path = format!("{path}.{key}");
        let (title, table) = match node.get("items") {
            Some(items) => (format!("`[[{path}]]`"), schema::resolve(root, items)),
            None => (format!("`[{path}]`"), schema::resolve(root, node)),
        };
        section(out, root, table, &title, |_| true);
        nested(out, root, table, &path);
    }
}

fn is_section(root: &Value, node: &Value) -> bool {
    schema::keys(root, node.get("items").unwrap_or(node)).is_some()
}

fn properties(table: &Value) -> impl Iterator<Item = (&String, &Value)> {
    table.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn section(out: &mut String, root: &Value, table: &Value, title: &str, wanted: impl Fn(&Value) -> bool) {
    let description = table.get("description").and_then(Value::as_str).unwrap_or_default();
    let _ = write!(out, "\n## {title}\n\n{description}\n\n");
    out.push_str("| Key | Type | Default | Reload | Meaning |\n|---|---|---|---|---|\n");
    for (key, node) in properties(table).filter(|(_, node)| wanted(node)) {
        let default = default(node);
        let reload = node.get("x-reload").and_then(Value::as_str).unwrap_or("yes");
        let kind = schema::kind(root, node).replace('|', "\\|");
        let _ = writeln!(out, "| `{key}` | {kind} | {default} | {reload} | {} |", meaning(root, node));
    }
}

fn default(node: &Value) -> String {
    if let Some(text) = node.get("x-default").and_then(Value::as_str) {
        return text.to_owned();
    }
    match node.get("default") {
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::Array(items)) if items.is_empty() => "none".to_owned(),
        Some(Value::Object(table)) if table.is_empty() => "none".to_owned(),
        Some(Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(Value::to_string).collect();
            format!("`[{}]`", items.join(", "))
        }
        Some(value) => format!("`{value}`"),
    }
}

/// The doc comment on one line, and what each choice means.
fn meaning(root: &Value, node: &Value) -> String {
    let description = node.get("description").and_then(Value::as_str).unwrap_or_default();
    let mut text = one_line(description);
    for (choice, meaning) in schema::choices(schema::resolve(root, node)) {
        let _ = write!(text, "<br>`\"{choice}\"`: {}", one_line(meaning));
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
