//! The document, and what of an answer it does not allow.
//!
//! Of JSON Schema this reads what the document uses, and a little more strictly: a field that is not named is a
//! problem. Any other word in a schema is one too, lest something is written that nobody checks. `pattern`, `minimum`
//! and `maxLength` are passed over.

use crate::ask::Answered;
use everup_web::server::OPENAPI;
use serde_json::{Map, Value};

const WORDS: [&str; 14] = [
    "$ref",
    "additionalProperties",
    "anyOf",
    "default",
    "description",
    "enum",
    "items",
    "maxLength",
    "minimum",
    "pattern",
    "prefixItems",
    "properties",
    "required",
    "type",
];

pub(crate) struct Document(pub(crate) Value);

/// A method of a path.
pub(crate) struct Operation {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) signed: bool,
}

impl Document {
    pub(crate) fn read() -> Self {
        Self(serde_json::from_str(OPENAPI).unwrap())
    }

    pub(crate) fn operations(&self) -> Vec<Operation> {
        let paths = self.0["paths"].as_object().unwrap();
        let methods = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter().filter(|(word, _)| *word != "parameters");
            methods.map(move |(method, operation)| (path, method, operation))
        });
        methods
            .map(|(path, method, operation)| Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                signed: operation.get("security").is_none(),
            })
            .collect()
    }

    pub(crate) fn schema(&self, name: &str) -> &Value {
        &self.0["components"]["schemas"][name]
    }

    /// What the document does not allow of an answer to `method` of `path`.
    pub(crate) fn problems_of(&self, method: &str, path: &str, answer: &Answered) -> Vec<String> {
        let at = format!("{method} {path} {}", answer.status);
        let Some(documented) = self.documented(method, path, answer.status) else {
            return vec![format!("{at} is not documented")];
        };
        let Some(content) = documented.get("content") else {
            return if answer.body.is_empty() { Vec::new() } else { vec![format!("{at} has a body")] };
        };
        let kind = answer.content_type.split(';').next().unwrap();
        match &content[kind]["schema"] {
            Value::Null => vec![format!("{at} is {kind:?}, which is not documented")],
            schema if kind == "application/json" => {
                self.problems(schema, &serde_json::from_slice(&answer.body).unwrap(), &at)
            }
            _ => Vec::new(),
        }
    }

    pub(crate) fn description_of(&self, method: &str, path: &str, status: u16) -> &str {
        self.documented(method, path, status).unwrap()["description"].as_str().unwrap()
    }

    fn documented(&self, method: &str, path: &str, status: u16) -> Option<&Value> {
        let answers = &self.0["paths"][path][method.to_lowercase()]["responses"];
        let fault = answers.get("default").filter(|_| status >= 400);
        answers.get(status.to_string()).or(fault).map(|answer| self.resolved(answer))
    }

    /// What `schema` does not allow of `value`.
    pub(crate) fn problems(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let schema = self.resolved(schema);
        if let Some(ways) = schema["anyOf"].as_array() {
            let mut tried: Vec<_> = ways.iter().map(|way| self.problems(way, value, at)).collect();
            let fits = tried.iter().any(Vec::is_empty);
            return if fits { Vec::new() } else { tried.remove(0) };
        }
        let words = schema.as_object().unwrap_or_else(|| panic!("{at} has no schema: {schema}"));
        let unread = words.keys().find(|word| !WORDS.contains(&word.as_str()));
        let mut problems: Vec<_> =
            unread.into_iter().map(|word| format!("{at}: nobody reads {word:?}")).collect();
        if !is_allowed(schema, value) {
            problems.push(format!("{at} is {value}"));
        }
        match value {
            Value::Object(fields) => problems.extend(self.problems_of_fields(schema, fields, at)),
            Value::Array(items) => problems.extend(self.problems_of_items(schema, items, at)),
            _ => {}
        }
        problems
    }

    fn problems_of_fields(&self, schema: &Value, fields: &Map<String, Value>, at: &str) -> Vec<String> {
        let missing = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let missing = missing.filter(|name| !fields.contains_key(*name));
        let mut problems: Vec<_> = missing.map(|name| format!("{at} has no {name}")).collect();
        let other = schema.get("additionalProperties").filter(|other| other.is_object());
        let is_free = schema.get("properties").is_none() && other.is_none();
        for (name, value) in fields.iter().filter(|_| !is_free) {
            let at = format!("{at} > {name}");
            match schema["properties"].get(name).or(other) {
                Some(schema) => problems.extend(self.problems(schema, value, &at)),
                None => problems.push(format!("{at} is not named")),
            }
        }
        problems
    }

    fn problems_of_items(&self, schema: &Value, items: &[Value], at: &str) -> Vec<String> {
        let first = schema["prefixItems"].as_array().map_or(&[][..], Vec::as_slice);
        let schemas = first.iter().chain(std::iter::repeat(&schema["items"]));
        let each = items.iter().zip(schemas).enumerate();
        each.flat_map(|(i, (item, schema))| self.problems(schema, item, &format!("{at} > {i}"))).collect()
    }

    fn resolved<'a>(&'a self, part: &'a Value) -> &'a Value {
        let Some(reference) = part["$ref"].as_str() else { return part };
        let pointer = reference.strip_prefix('#').unwrap();
        self.0.pointer(pointer).unwrap_or_else(|| panic!("there is no {reference}"))
    }
}

fn is_allowed(schema: &Value, value: &Value) -> bool {
    if let Some(values) = schema["enum"].as_array() {
        return values.contains(value);
    }
    match &schema["type"] {
        Value::String(name) => is_of(name, value),
        Value::Array(names) => names.iter().any(|name| is_of(name.as_str().unwrap(), value)),
        other => panic!("a schema without a type: {other}"),
    }
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "null" => value.is_null(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        other => panic!("there is no type {other}"),
    }
}
