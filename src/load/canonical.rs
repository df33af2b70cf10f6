//! Short forms to long ones: a table of paths (behaviours.md section 8).

use std::sync::LazyLock;

use super::{
    Code, merge,
    message::Problem,
    node::{Map, Node, Span, Value},
    path::{Path, Rules},
    report::{Failure, Failures, Report},
    request::Phase,
    short::{self, ShortPort, ShortVolume, VolumeOption},
};

/// What a short form is the short form of.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// A text names the source of a file.
    FileMount,
    /// Any scalar is text.
    Text,
    /// A list of `key=value` is a mapping.
    KeyValue,
    /// A list of names is a mapping of conditions.
    DependsOn,
    /// Paths are mappings with `path` and `required`.
    EnvFile,
    /// A text is a list of one.
    List,
    /// As [`Rule::List`], without empty elements.
    Dns,
    /// A text names a service.
    Extends,
    /// `all` is a request for every GPU.
    Gpus,
    /// A list of names is a mapping.
    Names,
    /// `source:target:options`.
    Volume,
    /// `source:target:permissions`.
    Device,
    /// `ip:published:target/protocol`.
    Ports,
    /// A text is the context.
    Build,
    /// A list of `id=path` is a mapping.
    Ssh,
    /// A number, or a mapping.
    Ulimit,
    /// `external: {name: …}` is the old form of `name` and `external: true`.
    External,
}

static RULES: LazyLock<Rules<Rule>> = LazyLock::new(|| {
    Rules::new(&[
        ("services.*.build", Rule::Build),
        ("services.*.build.additional_contexts", Rule::KeyValue),
        ("services.*.build.provenance", Rule::Text),
        ("services.*.build.sbom", Rule::Text),
        ("services.*.build.secrets.*", Rule::FileMount),
        ("services.*.build.ssh", Rule::Ssh),
        ("services.*.build.ulimits.*", Rule::Ulimit),
        ("services.*.configs.*", Rule::FileMount),
        ("services.*.depends_on", Rule::DependsOn),
        ("services.*.develop.watch.*.ignore", Rule::List),
        ("services.*.develop.watch.*.include", Rule::List),
        ("services.*.devices.*", Rule::Device),
        ("services.*.dns", Rule::Dns),
        ("services.*.env_file", Rule::EnvFile),
        ("services.*.extends", Rule::Extends),
        ("services.*.gpus", Rule::Gpus),
        ("services.*.label_file", Rule::List),
        ("services.*.models", Rule::Names),
        ("services.*.networks", Rule::Names),
        ("services.*.ports", Rule::Ports),
        ("services.*.secrets.*", Rule::FileMount),
        ("services.*.ulimits.*", Rule::Ulimit),
        ("services.*.volumes.*", Rule::Volume),
        ("volumes.*", Rule::External),
        ("networks.*", Rule::External),
        ("secrets.*", Rule::External),
        ("configs.*", Rule::External),
    ])
});

/// Rewrites a tree in place. Where `skip` holds [`Phase::Interpolation`], texts that still hold variables may stay.
///
/// # Errors
/// Fails with every form that cannot be read.
pub(super) fn canonicalize(
    tree: &mut Map,
    skip: &[Phase],
    report: &mut Report,
) -> Result<(), Failures> {
    let mut walk = Walk {
        lenient: skip.contains(&Phase::Interpolation),
        report,
        failures: Failures::default(),
    };
    walk.map(tree, Path::ROOT, Rules::<Rule>::ROOT);
    walk.failures.into_result()
}

struct Walk<'a> {
    lenient: bool,
    report: &'a mut Report,
    failures: Failures,
}

impl Walk<'_> {
    fn map(&mut self, map: &mut Map, path: Path<'_>, state: usize) {
        for (key, node) in map {
            if let Some(next) = RULES.key(state, key) {
                self.node(node, path.key(key), next);
            }
        }
    }

    fn node(&mut self, node: &mut Node, path: Path<'_>, state: usize) {
        if let Some(rule) = RULES.rule(state) {
            self.apply(rule, node, path);
        }
        match &mut node.value {
            Value::Map(map) => self.map(map, path, state),
            Value::List(list) => {
                if let Some(next) = RULES.element(state) {
                    for (index, element) in list.iter_mut().enumerate() {
                        self.node(element, path.index(index), next);
                    }
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Big(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Time(_) => {}
        }
    }

    fn apply(&mut self, rule: Rule, node: &mut Node, path: Path<'_>) {
        let result = match rule {
            Rule::FileMount => file_mount(node),
            Rule::Text => {
                if let Some(text) = node.scalar_text().filter(|_| !node.is_null()) {
                    node.value = Value::Text(text.into());
                }
                Ok(())
            }
            Rule::KeyValue => self.key_value(node),
            Rule::DependsOn => depends_on(node),
            Rule::EnvFile => env_file(node),
            Rule::List => {
                list(node);
                Ok(())
            }
            Rule::Dns => {
                list(node);
                drop_empty(node);
                Ok(())
            }
            Rule::Extends => wrap(node, "service"),
            Rule::Gpus => gpus(node),
            Rule::Names => names(node),
            Rule::Volume => self.volume(node, path),
            Rule::Device => self.device(node),
            Rule::Ports => self.ports(node, path),
            Rule::Build => wrap(node, "context"),
            Rule::Ssh => ssh(node),
            Rule::Ulimit => ulimit(node),
            Rule::External => self.external(node, path),
        };
        if let Err(problem) = result {
            let failure = Failure::new(Code::InvalidValue, format!("`{path}` is not valid: "));
            self.failures.0.push(
                match node.as_text() {
                    Some(text) => failure.quoted(node.span, text).say(": "),
                    None => failure,
                }
                .problem(node.span, &problem)
                .at(node.span, ""),
            );
        }
    }

    fn key_value(&self, node: &mut Node) -> Result<(), Problem> {
        let Value::List(list) = &node.value else {
            return mapping_only(node);
        };
        let mut map = Map::new();
        for element in list {
            let text = element.as_text().ok_or("every element must be a string")?;
            let Some((key, value)) = text.split_once('=') else {
                if self.lenient {
                    return Ok(());
                }
                return Err(Problem::new("`{}` must have the form `key=value`", &[text]));
            };
            map.insert(key.to_owned(), Node::text(value, element.span));
        }
        node.value = Value::Map(map);
        Ok(())
    }

    fn volume(&mut self, node: &mut Node, path: Path<'_>) -> Result<(), Problem> {
        let Some(text) = node.as_text() else {
            return mapping_only(node);
        };
        for option in short::unknown_options(text) {
            let problem = Problem::new(
                "`{}` is not an option of a volume and is ignored",
                &[&option],
            );
            self.report.warn(
                Failure::new(Code::Ignored, format!("`{path}`: "))
                    .problem(node.span, &problem)
                    .at(node.span, "")
                    .hint("the options are `ro`, `rw`, `z`, `Z`, `nocopy`, and a propagation such as `rshared`"),
            );
        }
        match short::volume(text) {
            Ok(volume) => {
                node.value = Value::Map(volume_map(volume, node.span));
                Ok(())
            }
            Err(_) if self.lenient => Ok(()),
            Err(problem) => Err(problem),
        }
    }

    fn device(&self, node: &mut Node) -> Result<(), Problem> {
        let Some(text) = node.as_text() else {
            return mapping_only(node);
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, permissions) = match parts.as_slice() {
            [source] => (*source, "", "rwm"),
            [source, target] => (*source, *target, "rwm"),
            [source, target, permissions] => (*source, *target, *permissions),
            _ if self.lenient => ("", "", "rwm"),
            _ => {
                return Err(Problem::from("there are too many colons")
                    .hinted("write `SOURCE:TARGET:PERMISSIONS`, or the long form"));
            }
        };
        let target = if target.is_empty() { source } else { target };
        let span = node.span;
        node.value = texts(
            span,
            &[
                ("source", source),
                ("target", target),
                ("permissions", permissions),
            ],
        );
        Ok(())
    }

    fn ports(&mut self, node: &mut Node, path: Path<'_>) -> Result<(), Problem> {
        let Value::List(list) = &mut node.value else {
            return Err(Problem::kind("it must be a list, this is a ", node.kind()));
        };
        // Where one of them waits for its variables, docker compose leaves all as they are written.
        let readable = |element: &Node| match &element.value {
            Value::Text(text) => short::ports(text).is_ok(),
            _ => true,
        };
        if self.lenient && !list.iter().all(readable) {
            return Ok(());
        }
        let mut ports = Vec::with_capacity(list.len());
        for (index, element) in std::mem::take(list).into_iter().enumerate() {
            let text = match &element.value {
                Value::Map(_) => {
                    ports.push(element);
                    continue;
                }
                Value::Int(number) => number.to_string(),
                Value::Text(text) => text.to_string(),
                _ => return Err(Problem::kind("a port cannot be a ", element.kind())),
            };
            match short::ports(&text) {
                Ok(read) => ports.extend(read.into_iter().map(|port| port_node(port, &element))),
                Err(problem) => {
                    let path = path.index(index);
                    self.failures.0.push(
                        Failure::new(Code::InvalidValue, format!("`{path}` is not valid: "))
                            .quoted(element.span, &text)
                            .say(": ")
                            .problem(element.span, &problem)
                            .at(element.span, "")
                            .hint("the form is `[[IP:]PUBLISHED:]TARGET[/PROTOCOL]`"),
                    );
                }
            }
        }
        *list = ports;
        Ok(())
    }

    fn external(&mut self, node: &mut Node, path: Path<'_>) -> Result<(), Problem> {
        let Value::Map(resource) = &mut node.value else {
            return if node.is_null() {
                Ok(())
            } else {
                mapping_only(node)
            };
        };
        let Some(external) = resource.get_mut("external") else {
            return Ok(());
        };
        let Value::Map(old) = &external.value else {
            return Ok(());
        };
        let name = old.get("name").cloned();
        external.value = Value::Bool(true);
        let Some(name) = name else {
            return Ok(());
        };
        self.report.warn(
            Failure::new(
                Code::Deprecated,
                format!("{path}: external.name is deprecated. Please set name and external: true"),
            )
            .at(name.span, ""),
        );
        match resource.get("name") {
            Some(known) if known.value != name.value => {
                Err("`name` and `external.name` conflict; only use `name`".into())
            }
            Some(_) => Ok(()),
            None => {
                resource.insert("name", name);
                Ok(())
            }
        }
    }
}

fn mapping_only(node: &Node) -> Result<(), Problem> {
    match node.value {
        Value::Map(_) => Ok(()),
        _ => Err(Problem::kind("it cannot be a ", node.kind())),
    }
}

fn texts(span: Span, pairs: &[(&str, &str)]) -> Value {
    let entries = pairs
        .iter()
        .map(|(key, text)| (*key, Node::text(*text, span)));
    Value::Map(entries.collect())
}

/// Wraps a text into a mapping with one key.
fn wrap(node: &mut Node, key: &str) -> Result<(), Problem> {
    match &node.value {
        Value::Text(text) => {
            node.value = texts(node.span, &[(key, text)]);
            Ok(())
        }
        _ => mapping_only(node),
    }
}

fn file_mount(node: &mut Node) -> Result<(), Problem> {
    wrap(node, "source")
}

fn depends_on(node: &mut Node) -> Result<(), Problem> {
    let span = node.span;
    match &mut node.value {
        Value::Map(map) => {
            for dependency in map.values_mut() {
                let kind = dependency.kind();
                let Value::Map(fields) = &mut dependency.value else {
                    return Err(Problem::kind(
                        "each dependency must be a mapping, this is a ",
                        kind,
                    ));
                };
                fields.get_or_insert_with("condition", || Node::text("service_started", span));
                fields.get_or_insert_with("required", || Node::new(Value::Bool(true), span));
            }
            Ok(())
        }
        Value::List(list) => {
            let mut map = Map::new();
            for name in list {
                let text = name.as_text().ok_or("every element must be a string")?;
                map.insert(text.to_owned(), merge::started(name));
            }
            node.value = Value::Map(map);
            Ok(())
        }
        _ => mapping_only(node),
    }
}

fn env_file(node: &mut Node) -> Result<(), Problem> {
    if let Value::Text(_) = node.value {
        let only = std::mem::take(node);
        let span = only.span;
        *node = Node::new(Value::List(vec![only.clone()]), span).keyed(only.key);
    }
    let kind = node.kind();
    let Value::List(list) = &mut node.value else {
        return Err(Problem::kind("it cannot be a ", kind));
    };
    for element in list {
        wrap(element, "path")?;
        let span = element.span;
        if let Value::Map(map) = &mut element.value {
            map.get_or_insert_with("required", || Node::new(Value::Bool(true), span));
        }
    }
    Ok(())
}

fn list(node: &mut Node) {
    if let Value::Text(text) = &node.value {
        let element = Node::text(text.clone(), node.span);
        node.value = Value::List(vec![element]);
    }
}

fn drop_empty(node: &mut Node) {
    if let Value::List(list) = &mut node.value {
        list.retain(|element| !element.is_null() && element.as_text() != Some(""));
    }
}

fn gpus(node: &mut Node) -> Result<(), Problem> {
    match &node.value {
        Value::List(_) => Ok(()),
        Value::Text(_) => {
            let all = Node::new(texts(node.span, &[("count", "all")]), node.span);
            node.value = Value::List(vec![all]);
            Ok(())
        }
        _ => Err(Problem::kind("it cannot be a ", node.kind())),
    }
}

fn names(node: &mut Node) -> Result<(), Problem> {
    let Value::List(list) = &node.value else {
        return Ok(());
    };
    let mut map = Map::new();
    for name in list {
        let text = name.as_text().ok_or("every element must be a string")?;
        map.insert(text.to_owned(), Node::new(Value::Null, name.span));
    }
    node.value = Value::Map(map);
    Ok(())
}

fn ssh(node: &mut Node) -> Result<(), Problem> {
    let Value::List(list) = &node.value else {
        return mapping_only(node);
    };
    let mut map = Map::new();
    for element in list {
        let text = element.as_text().ok_or("every element must be a string")?;
        let (id, path) = match text.split_once('=') {
            Some((id, path)) => (id, Value::Text(path.into())),
            None if text == "default" => (text, Value::Null),
            None => return Err(Problem::new("`{}` must be `default` or `ID=PATH`", &[text])),
        };
        map.insert(id.to_owned(), Node::new(path, element.span));
    }
    node.value = Value::Map(map);
    Ok(())
}

fn ulimit(node: &mut Node) -> Result<(), Problem> {
    match node.value {
        Value::Int(_) => Ok(()),
        _ => mapping_only(node),
    }
}

fn port_node(port: ShortPort, written: &Node) -> Node {
    let span = written.span;
    let mut map = Map::from([("mode", Node::text("ingress", span))]);
    if !port.host_ip.is_empty() {
        map.insert("host_ip", Node::text(port.host_ip, span));
    }
    let target = Value::Int(i64::from(port.target));
    map.insert("target", Node::new(target, span));
    if !port.published.is_empty() {
        map.insert("published", Node::text(port.published, span));
    }
    map.insert("protocol", Node::text(port.protocol, span));
    Node::new(Value::Map(map), span).keyed(written.key)
}

fn volume_map(volume: ShortVolume, span: Span) -> Map {
    let bind = short::is_host_path(&volume.source);
    let flag = |flag: bool| Node::new(Value::Bool(flag), span);
    let mut map = Map::new();
    map.insert(
        "type",
        Node::text(if bind { "bind" } else { "volume" }, span),
    );
    if !volume.source.is_empty() {
        map.insert("source", Node::text(volume.source, span));
    }
    let target = if volume.target.is_empty() {
        volume.target
    } else {
        clean_target(&volume.target)
    };
    map.insert("target", Node::text(target, span));
    let mut bind_options = bind.then(|| Map::from([("create_host_path", flag(true))]));
    let mut volume_options = (!bind && !volume.bare).then(Map::new);
    let mut read_only = false;
    for option in volume.options {
        match option {
            VolumeOption::ReadOnly => read_only = true,
            VolumeOption::Writable => read_only = false,
            VolumeOption::NoCopy => {
                let options = volume_options.get_or_insert_with(Map::new);
                options.insert("nocopy", flag(true));
            }
            VolumeOption::Selinux(label) => {
                let options = bind_options.get_or_insert_with(Map::new);
                options.insert("selinux", Node::text(label, span));
            }
            VolumeOption::Propagation(mode) => {
                let options = bind_options.get_or_insert_with(Map::new);
                options.insert("propagation", Node::text(mode, span));
            }
        }
    }
    if read_only {
        map.insert("read_only", flag(true));
    }
    for (key, options) in [("bind", bind_options), ("volume", volume_options)] {
        if let Some(options) = options {
            map.insert(key, Node::new(Value::Map(options), span));
        }
    }
    map
}

/// Cleans a path of a container, as Go's `path.Clean`.
pub(super) fn clean_target(target: &str) -> String {
    super::source::clean(std::path::Path::new(target))
        .display()
        .to_string()
}
