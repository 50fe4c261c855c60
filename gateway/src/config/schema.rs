//! What the JSON schema says of a place in the configuration: which keys there are, and what kind of value each takes.

use serde_json::Value;

/// `node`, or what it refers to.
pub(super) fn resolve<'a>(root: &'a Value, node: &'a Value) -> &'a Value {
    let target = node.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(node)
}

/// The schema of the value at a path such as `clients[2].name`.
pub(super) fn at<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    let mut node = root;
    for part in path.split('.') {
        let (key, index) = part.split_once('[').map_or((part, None), |(key, rest)| (key, Some(rest)));
        let key_schema = node.get("properties").and_then(|properties| properties.get(key));
        node = key_schema.or_else(|| node.get("additionalProperties").filter(|any| any.is_object()))?;
        node = resolve(root, node);
        if index.is_some() {
            node = resolve(root, node.get("items").unwrap_or(node));
        }
    }
    Some(node)
}

/// Whether the top-level key is a list of tables.
pub(super) fn is_list_of_tables(root: &Value, key: &str) -> bool {
    let items = at(root, key).and_then(|list| list.get("items"));
    items.is_some_and(|items| keys(root, items).is_some())
}

/// Whether a value there is text, even where it looks like a number.
pub(super) fn takes_text(root: &Value, node: &Value) -> bool {
    let node = resolve(root, node);
    match node.get("type") {
        Some(Value::Array(types)) => types.iter().any(|kind| kind == "string"),
        Some(kind) => kind == "string",
        None => node.get("oneOf").is_some(),
    }
}

/// What a value there is called, in Markdown.
pub(super) fn kind(root: &Value, node: &Value) -> String {
    let node = resolve(root, node);
    let text = |key: &str| node.get(key).and_then(Value::as_str);
    let choices = choices(node);
    if !choices.is_empty() {
        let texts: Vec<_> = choices.iter().map(|(choice, _)| format!("`\"{choice}\"`")).collect();
        return match texts.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        };
    }
    if let Some(name) = text("x-type") {
        return match (text("x-min"), text("x-max")) {
            (Some(least), Some(most)) => format!("{name}, {least} to {most}"),
            _ => name.to_owned(),
        };
    }
    if keys(root, node).is_some() {
        return "table".to_owned();
    }
    if node.get("items").is_some_and(|items| keys(root, items).is_some()) {
        return "list of tables".to_owned();
    }
    // Of `["string", "null"]` only the first is told: a key that may be left out is told by its default.
    let kind = node.get("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
    match kind {
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("integer") => match (node.get("minimum"), node.get("maximum")) {
            (Some(least), Some(most)) => format!("number, {least} to {most}"),
            _ => "number".to_owned(),
        },
        Some("array") => "list of texts".to_owned(),
        Some("object") => "table".to_owned(),
        _ => "text".to_owned(),
    }
}

/// The texts that a value may be, each with what it means.
pub(super) fn choices(node: &Value) -> Vec<(&str, &str)> {
    let variants = node.get("oneOf").or_else(|| node.get("anyOf")).and_then(Value::as_array);
    let variants = variants.into_iter().flatten().flat_map(|variant| {
        // An enum that may be left out stands inside another choice, beside "null".
        let nested = variant.get("oneOf").and_then(Value::as_array);
        nested.map_or_else(|| std::slice::from_ref(variant), Vec::as_slice)
    });
    variants
        .filter_map(|variant| {
            let meaning = variant.get("description").and_then(Value::as_str).unwrap_or_default();
            Some((variant.get("const")?.as_str()?, meaning))
        })
        .collect()
}

/// The keys that a table there may have; `None` where any key goes.
pub(super) fn keys<'a>(root: &'a Value, node: &'a Value) -> Option<Vec<&'a str>> {
    let properties = resolve(root, node).get("properties")?.as_object()?;
    Some(properties.keys().map(String::as_str).collect())
}
