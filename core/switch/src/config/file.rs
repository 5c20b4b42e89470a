//! The file as typed: TOML checked against the declared keys, every value with its place.
//!
//! Reading goes on after a mistake, so that all mistakes of a file are reported at once. A value that
//! is mistaken counts as absent from then on: its default stands in, or nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::ROOT;
use super::kind::{Kind, Scalar, nearest};
use super::mistake::Report;
use super::schema::{Default, Section, visit_sections};
use super::twice::Twice;

/// A value and its place in the file.
#[derive(Clone)]
pub(crate) struct Node {
    /// Its bytes in the file; empty for a default.
    pub(crate) span: Range<usize>,
    value: Value,
}

#[derive(Clone)]
enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Json(serde_json::Value),
    Table(Tree),
    Tables(Vec<Tree>),
}

/// A table that was read.
#[derive(Clone)]
pub(crate) struct Tree {
    /// Its path, such as `user[0]`.
    pub(crate) path: String,
    /// Its place in the file.
    pub(crate) span: Range<usize>,
    section: &'static Section,
    values: BTreeMap<&'static str, Node>,
    mistaken: Vec<&'static str>,
}

/// Reads a whole file.
pub(crate) fn read(text: &str, report: &mut Report<'_>) -> Tree {
    let (table, errors) = DeTable::parse_recoverable(text);
    let broken = !errors.is_empty();
    let mut twice = Twice::new(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        match error.message().trim() {
            "duplicate key" => {
                if let Some((key, what)) = twice.told(&span) {
                    report.mistake(&span, key, what);
                }
            }
            message => report.mistake(&span, "", format!("not TOML: {}", message.replace('\n', ", "))),
        }
    }
    let mut reader = Reader {
        report,
        broken,
        quiet: false,
    };
    reader.table(table.get_ref(), &ROOT, String::new(), &table.span())
}

struct Reader<'r, 't> {
    report: &'r mut Report<'t>,
    /// The text is not TOML throughout, so what is missing may only not have been understood.
    broken: bool,
    /// Inside a part that is not served: said once, not for each key.
    quiet: bool,
}

impl Reader<'_, '_> {
    fn table(
        &mut self,
        table: &DeTable<'_>,
        section: &'static Section,
        path: String,
        span: &Range<usize>,
    ) -> Tree {
        let mut values = BTreeMap::new();
        let mut mistaken = Vec::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let at = join(&path, name);
            let Some(declared) = section.key(name) else {
                self.report.mistake(&key.span(), at, unknown_key(name, section));
                continue;
            };
            let was_quiet = self.quiet;
            self.quiet |= !declared.served;
            if let Some(node) = self.value(declared.kind, value, &at) {
                if !declared.served && !was_quiet && !is_default(&node, declared.kind, declared.default) {
                    self.report
                        .warning(&key.span(), at, "not served by this version; it has no effect");
                }
                values.insert(declared.name, node);
            } else {
                mistaken.push(declared.name);
            }
            self.quiet = was_quiet;
        }
        for key in section.keys {
            if values.contains_key(key.name) {
                continue;
            }
            match key.default {
                Default::Required if !mistaken.contains(&key.name) && !self.broken => {
                    let what = format!("missing: `{}` must be given: {}", key.name, key.kind);
                    self.report.mistake(span, join(&path, key.name), what);
                }
                Default::Toml(text) => {
                    values.insert(key.name, default_node(key.kind, text, &join(&path, key.name)));
                }
                Default::Required | Default::Absent(_) => {}
            }
        }
        Tree {
            path,
            span: span.clone(),
            section,
            values,
            mistaken,
        }
    }

    fn value(&mut self, kind: Kind, value: &Spanned<DeValue<'_>>, at: &str) -> Option<Node> {
        let span = value.span();
        let read = match (kind, value.get_ref()) {
            (Kind::OneOrMore(inner), DeValue::String(_)) => {
                self.value(*inner, value, at).map(|node| Value::List(vec![node]))
            }
            (Kind::List(inner) | Kind::OneOrMore(inner), DeValue::Array(items)) => {
                let read: Vec<_> = items.iter().map(|item| self.value(*inner, item, at)).collect();
                read.into_iter().collect::<Option<Vec<_>>>().map(Value::List)
            }
            (Kind::Table(section), DeValue::Table(table)) => {
                Some(Value::Table(self.table(table, section, at.into(), &span)))
            }
            (Kind::Tables(section), DeValue::Array(items)) => self.tables(section, items, at),
            (Kind::Json, DeValue::Table(_)) => match json(value.get_ref()) {
                Ok(json) => Some(Value::Json(json)),
                Err(what) => return self.refuse(&span, at, kind, &what),
            },
            (kind, value) => match scalar(kind, value) {
                Ok(scalar) => Some(Value::Scalar(scalar)),
                Err(what) => return self.refuse(&span, at, kind, &what),
            },
        };
        read.map(|value| Node { span, value })
    }

    fn tables(
        &mut self,
        section: &'static Section,
        items: &[Spanned<DeValue<'_>>],
        at: &str,
    ) -> Option<Value> {
        let mut trees = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{at}[{index}]");
            if let DeValue::Table(table) = item.get_ref() {
                trees.push(self.table(table, section, path, &item.span()));
            } else {
                let what = format!("it is {}", type_name(item.get_ref()));
                self.refuse(&item.span(), &path, Kind::Table(section), &what);
            }
        }
        Some(Value::Tables(trees))
    }

    fn refuse(&mut self, span: &Range<usize>, at: &str, kind: Kind, what: &str) -> Option<Node> {
        self.report.mistake(span, at, format!("{what}; expected {kind}"));
        None
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.into()
    } else {
        format!("{path}.{name}")
    }
}

fn unknown_key(name: &str, section: &Section) -> String {
    if let Some(near) = nearest(name, section.keys.iter().map(|key| key.name)) {
        return format!("unknown key; the nearest known key is `{near}`");
    }
    let mut homes = Vec::new();
    visit_sections(&ROOT, &mut |other| {
        if other.key(name).is_some() && !homes.contains(&other.name) {
            homes.push(other.name);
        }
    });
    let known: Vec<_> = section.keys.iter().map(|key| key.name).collect();
    let known = known.join(", ");
    match homes.first() {
        Some(&"") => {
            format!("unknown key here: `{name}` belongs at the top of the file; known here: {known}")
        }
        Some(home) => format!("unknown key here: `{name}` belongs in `{home}`; known here: {known}"),
        None => format!("unknown key; known here: {known}"),
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn scalar(kind: Kind, value: &DeValue<'_>) -> Result<Scalar, String> {
    match (kind, value) {
        (Kind::Flag, DeValue::Boolean(flag)) => Ok(Scalar::Flag(*flag)),
        (Kind::Integer(min, max), DeValue::Integer(number)) => {
            let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
            number
                .filter(|n| (min..=max).contains(n))
                .map(Scalar::Integer)
                .ok_or_else(|| "out of range".into())
        }
        (Kind::Flag | Kind::Integer(..) | Kind::Json | Kind::List(_) | Kind::OneOrMore(_), other) => {
            Err(format!("it is {}", type_name(other)))
        }
        (Kind::Table(_) | Kind::Tables(_), other) => Err(format!("it is {}", type_name(other))),
        (kind, DeValue::String(text)) => {
            let shown = if kind.secret() || text.len() > 80 {
                String::new()
            } else {
                format!("\"{text}\": ")
            };
            kind.read_text(text).map_err(|what| format!("{shown}{what}"))
        }
        (_, other) => Err(format!("it is {}", type_name(other))),
    }
}

fn json(value: &DeValue<'_>) -> Result<serde_json::Value, String> {
    Ok(match value {
        DeValue::String(text) => serde_json::Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| format!("{} is too large a number", number.as_str()))?
            .into(),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .ok_or_else(|| format!("JSON has no number {}", number.as_str()))?
            .into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(date) => date.to_string().into(),
        DeValue::Array(items) => items
            .iter()
            .map(|item| json(item.get_ref()))
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        DeValue::Table(table) => table
            .iter()
            .map(|(key, value)| Ok((key.get_ref().to_string(), json(value.get_ref())?)))
            .collect::<Result<serde_json::Map<_, _>, String>>()?
            .into(),
    })
}

fn default_node(kind: Kind, text: &str, at: &str) -> Node {
    let (value, errors) = DeValue::parse_recoverable(text);
    let mut report = Report::new("default".as_ref(), text);
    let mut reader = Reader {
        report: &mut report,
        broken: !errors.is_empty(),
        quiet: false,
    };
    let node = reader
        .value(kind, &value, at)
        .expect("every declared default is a value of its kind");
    Node {
        span: 0..0,
        value: node.value,
    }
}

fn is_default(node: &Node, kind: Kind, default: Default) -> bool {
    match default {
        Default::Toml(text) => same(node, &default_node(kind, text, "")),
        Default::Required | Default::Absent(_) => false,
    }
}

fn same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Scalar(a), Value::Scalar(b)) => a == b,
        (Value::Json(a), Value::Json(b)) => a == b,
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Tables(a), Value::Tables(b)) => a.is_empty() && b.is_empty(),
        _ => false,
    }
}

macro_rules! typed {
    ($($(#[$doc:meta])* $name:ident -> $type:ty = $pattern:pat => $value:expr;)*) => {
        impl Node {
            $($(#[$doc])* pub(crate) fn $name(&self) -> $type {
                match &self.value {
                    $pattern => $value,
                    _ => unreachable!("the key is declared with another kind"),
                }
            })*
        }
    };
}

typed! {
    /// A flag.
    flag -> bool = Value::Scalar(Scalar::Flag(flag)) => *flag;
    /// A whole number.
    integer -> i64 = Value::Scalar(Scalar::Integer(number)) => *number;
    /// A single value of any kind.
    scalar -> &Scalar = Value::Scalar(scalar) => scalar;
    /// A text of any kind.
    text -> &str = Value::Scalar(Scalar::Text(text)) => text;
    /// A time span.
    duration -> std::time::Duration = Value::Scalar(Scalar::Duration(span)) => *span;
    /// A number of bytes.
    size -> u64 = Value::Scalar(Scalar::Size(bytes)) => *bytes;
    /// An address with a port.
    socket -> std::net::SocketAddr = Value::Scalar(Scalar::Socket(address)) => *address;
    /// An address without a port.
    ip -> std::net::IpAddr = Value::Scalar(Scalar::Ip(address)) => *address;
    /// A network.
    network -> ipnet::IpNet = Value::Scalar(Scalar::Network(network)) => *network;
    /// A range of ports.
    ports -> std::ops::RangeInclusive<u16> = Value::Scalar(Scalar::Ports(ports)) => ports.clone();
    /// An id.
    id -> u128 = Value::Scalar(Scalar::Id(id)) => *id;
    /// The items of a list.
    items -> &[Node] = Value::List(items) => items;
    /// A free table as JSON.
    json -> &serde_json::Value = Value::Json(json) => json;
    /// A table.
    tree -> &Tree = Value::Table(tree) => tree;
    /// A list of tables.
    trees -> &[Tree] = Value::Tables(trees) => trees;
}

impl Tree {
    /// The value of a declared key; `None` where it is absent (or mistaken) and has no default.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        assert!(
            self.section.key(key).is_some(),
            "`{key}` is not declared in `{}`",
            self.section.name
        );
        self.values.get(key)
    }

    /// The value of a key that is declared with a default.
    pub(crate) fn sure(&self, key: &str) -> &Node {
        self.get(key).expect("a key with a default has a value")
    }

    /// Whether something stands at a key that could not be read.
    pub(crate) fn mistaken(&self, key: &str) -> bool {
        self.mistaken.contains(&key)
    }

    /// The path of a key, for a remark.
    pub(crate) fn at(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Calls `visit` with the section and the name of every key that stands in the file.
    #[cfg(test)]
    pub(crate) fn visit_typed(&self, visit: &mut dyn FnMut(&'static str, &'static str)) {
        for (key, node) in &self.values {
            if node.span.is_empty() {
                continue;
            }
            visit(self.section.name, key);
            match &node.value {
                Value::Table(tree) => tree.visit_typed(visit),
                Value::Tables(trees) => trees.iter().for_each(|tree| tree.visit_typed(visit)),
                _ => {}
            }
        }
    }
}
