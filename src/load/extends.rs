//! `extends`: services made from other services (behaviours.md B074-B078).

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    Code, include,
    layer::{self, Loader, Prepared, Scope},
    map::Key,
    merge,
    node::{Map, Node, Span, Value},
    report::{Failure, Failures},
    reset::Resets,
    resolve_path, source, unicity,
};

/// The services of a file that other services extend, with their paths already resolved.
#[derive(Debug)]
pub(super) struct Base {
    services: Map,
    resets: Resets,
}

/// A service on the way to its base: file and name, and where it says so.
struct Step {
    file: String,
    service: String,
    span: Span,
}

/// What a service extends.
struct Reference {
    service: String,
    file: Option<String>,
    span: Span,
    service_span: Span,
}

/// Resolves every `extends` of a document. A service whose base is missing, or leads back to it, is told and keeps
/// only what it says itself.
pub(super) fn apply(
    loader: &mut Loader<'_>,
    own: &mut Map,
    file: &str,
    scope: &Scope,
    resets: &Resets,
) {
    let services = match layer::section(own, "services") {
        Ok(Some(services)) => services,
        Ok(None) => return,
        // The schema tells it.
        Err(_) => return,
    };
    let extending: Vec<String> = services
        .iter()
        .filter(|(_, service)| service.find("extends").is_some())
        .map(|(name, _)| name.to_string())
        .collect();
    let mut run = Run {
        loader,
        scope,
        file,
        trail: Vec::new(),
    };
    let mut circles: Vec<Span> = Vec::new();
    for name in extending {
        run.trail.clear();
        let Err(mut failures) = run.service(&name, services, resets) else {
            continue;
        };
        // Every service of a circle leads into it: it is told once.
        failures.0.retain(|failure| !failure.touches(&circles));
        circles.extend(run.trail.iter().map(|step| step.span));
        run.loader.collect(failures.into_result());
        run.loader.marks.add(&["services", &name, "extends"]);
        for step in &run.trail {
            let path = ["services", &step.service, "extends"];
            run.loader.marks.add(&path);
        }
        if let Some(service) = services.get_mut(&name).and_then(Node::as_map_mut) {
            service.shift_remove("extends");
        }
    }
}

struct Run<'a, 'r> {
    loader: &'a mut Loader<'r>,
    scope: &'a Scope,
    file: &'a str,
    trail: Vec<Step>,
}

impl Run<'_, '_> {
    /// Resolves a service in place and returns nothing but success: the service is then free of `extends`.
    fn service(&mut self, name: &str, services: &mut Map, resets: &Resets) -> Result<(), Failures> {
        let Some(service) = services.get(name) else {
            return Ok(());
        };
        let Some(reference) = reference(name, service)? else {
            return Ok(());
        };
        let base = match &reference.file {
            Some(file) => self.base_of_file(name, file, &reference)?,
            None => self.base_of_same(name, &reference, services, resets)?,
        };
        let Some(mut base) = base else {
            return Ok(());
        };
        resets.apply_at(["services", name], &mut base);
        let own = services
            .get_mut(name)
            .map(std::mem::take)
            .unwrap_or_default();
        let key = own.key;
        let (merged, result) = merge::merge_resource("services", name, base, own);
        self.loader.collect(result);
        let mut merged = merged.keyed(key);
        if let Some(map) = merged.as_map_mut() {
            map.shift_remove("extends");
        }
        if let Some(place) = services.get_mut(name) {
            *place = merged;
        }
        Ok(())
    }

    fn base_of_same(
        &mut self,
        name: &str,
        reference: &Reference,
        services: &mut Map,
        resets: &Resets,
    ) -> Result<Option<Node>, Failures> {
        if !services.contains_key(&reference.service) {
            return Err(missing(name, self.file, reference, services).into());
        }
        self.step(self.file.to_owned(), name, reference.span)?;
        self.service(&reference.service, services, resets)?;
        self.trail.pop();
        let base = services.get(&reference.service).cloned();
        Ok(base.filter(|base| !base.is_null()))
    }

    fn base_of_file(
        &mut self,
        name: &str,
        file: &str,
        reference: &Reference,
    ) -> Result<Option<Node>, Failures> {
        let base = self.load_base(file, reference)?;
        if !base.services.contains_key(&reference.service) {
            return Err(missing(name, file, reference, &base.services).into());
        }
        self.step(file.to_owned(), name, reference.span)?;
        // Only the services that the base itself extends are needed beside it.
        let mut services = needed(&base.services, &reference.service);
        self.service(&reference.service, &mut services, &base.resets)?;
        self.trail.pop();
        let base = services.shift_remove(&reference.service);
        Ok(base.filter(|base| !base.is_null()))
    }

    fn step(&mut self, file: String, service: &str, span: Span) -> Result<(), Failure> {
        let step = Step {
            file,
            service: service.to_owned(),
            span,
        };
        let known = self
            .trail
            .iter()
            .any(|known| known.file == step.file && known.service == step.service);
        self.trail.push(step);
        if !known {
            return Ok(());
        }
        let mut lines = vec!["Circular reference:".to_owned()];
        let mut failure_places = Vec::new();
        for (index, step) in self.trail.iter().enumerate() {
            let word = if index == 0 { "" } else { "extends " };
            lines.push(format!("  {word}{} in {}", step.service, step.file));
            failure_places.push(step.span);
        }
        let failure = Failure::new(Code::Extends, lines.join("\n"));
        Err(failure_places
            .into_iter()
            .fold(failure, |failure, span| failure.at(span, "extends here")))
    }

    fn load_base(&mut self, file: &str, reference: &Reference) -> Result<Rc<Base>, Failures> {
        let local = if source::is_remote(file) {
            PathBuf::from(source::fetch(self.loader.request, file, reference.span)?)
        } else {
            source::clean(&self.scope.directory.join(file))
        };
        let directory = local.parent().unwrap_or(Path::new("/")).to_path_buf();
        let base = source::clean(&self.scope.base_relative(&directory));
        let key = (local.display().to_string(), base.clone());
        self.loader
            .links
            .insert(reference.span, vec![key.0.clone()]);
        if let Some(known) = self.loader.bases.get(&key) {
            return Ok(Rc::clone(known));
        }
        self.loader.trail.push((reference.span, "extended here"));
        let loaded = self.read_base(&key.0, &base, reference);
        self.loader.trail.pop();
        let loaded = Rc::new(loaded?);
        self.loader.bases.insert(key, Rc::clone(&loaded));
        Ok(loaded)
    }

    fn read_base(
        &mut self,
        file: &str,
        directory: &Path,
        reference: &Reference,
    ) -> Result<Base, Failures> {
        let documents = self.loader.parse(file, reference.span).map_err(|failure| {
            failure
                .at(reference.span, "extended here")
                .hint_if(source::similar_file(file))
        })?;
        let mut tree = Map::new();
        let mut resets = Resets::default();
        for document in documents.iter() {
            let Prepared { own, resets: found } =
                self.loader.prepare(document.clone(), self.scope)?;
            found.apply(&mut tree);
            let merged = merge::merge_files(&mut tree, own);
            self.loader.collect(merged);
            let unique = unicity::enforce(&mut tree);
            self.loader.settle(&mut tree, unique);
            self.loader.finish(&mut tree);
            resets = found;
        }
        let resolved = resolve_path::resolve(&mut tree, directory, &self.scope.environment);
        self.loader.settle(&mut tree, resolved);
        match tree.shift_remove("services").map(|node| node.value) {
            Some(Value::Map(services)) => Ok(Base { services, resets }),
            _ => Err(Failure::new(Code::Extends, "cannot extend a service of `")
                .made(reference.span, file)
                .say("`: it has no services")
                .at(reference.span, "")
                .into()),
        }
    }
}

impl Scope {
    /// Writes a directory as the paths of this scope are written before they are resolved.
    fn base_relative(&self, directory: &Path) -> PathBuf {
        include::relative(directory, &self.directory)
    }
}

fn reference(name: &str, service: &Node) -> Result<Option<Reference>, Failure> {
    let Some(extends) = service.find("extends") else {
        return Ok(None);
    };
    let text = |key: &str| extends.find(key).and_then(Node::as_text).map(str::to_owned);
    match &extends.value {
        Value::Text(service) => Ok(Some(Reference {
            service: service.to_string(),
            file: None,
            span: extends.span,
            service_span: extends.span,
        })),
        Value::Map(_) => {
            let Some(service) = text("service") else {
                return Err(Failure::new(
                    Code::Extends,
                    format!("`services.{name}.extends` has no `service`"),
                )
                .at(extends.key, ""));
            };
            let service_span = extends
                .find("service")
                .map_or(extends.span, |node| node.span);
            let span = extends.find("file").map_or(service_span, |node| node.span);
            Ok(Some(Reference {
                service,
                file: text("file"),
                span,
                service_span,
            }))
        }
        _ => Ok(None),
    }
}

fn missing(name: &str, file: &str, reference: &Reference, services: &Map) -> Failure {
    let service = &reference.service;
    let failure = Failure::new(
        Code::Extends,
        format!("cannot extend service \"{name}\" in "),
    );
    match &reference.file {
        Some(_) => failure.made(reference.span, file),
        None => failure.say(file),
    }
    .say(": service \"")
    .value(reference.service_span, service)
    .say("\" not found")
    .at(reference.span, "")
    .hint_if(super::schema::nearest(
        service,
        services.keys().map(Key::as_str),
    ))
}

/// Copies a service and the chain of services of the same file that it extends.
fn needed(services: &Map, name: &str) -> Map {
    let mut copied = Map::new();
    let mut next = Some(name.to_owned());
    while let Some(name) = next.take() {
        if copied.contains_key(&name) {
            break;
        }
        let Some(service) = services.get(&name) else {
            break;
        };
        let extends = service.find("extends");
        let same_file = extends.filter(|extends| extends.find("file").is_none());
        next = same_file.and_then(|extends| match &extends.value {
            Value::Text(text) => Some(text.to_string()),
            _ => extends
                .find("service")
                .and_then(Node::as_text)
                .map(str::to_owned),
        });
        copied.insert(name, service.clone());
    }
    copied
}
